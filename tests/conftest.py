"""Options of the whole suite, and what no test may do."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.support.mounts import unmount_all

# An input may take as long as it does on a busy machine; in CI that is hypothesis' own choice.
settings.register_profile("patient", settings(), deadline=None)
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz",
        type=int,
        default=1,
        metavar="TIMES",
        help="how many times as long the fuzz tests run, with other inputs each time",
    )


def pytest_sessionstart() -> None:
    """Lets pytest delete the folders of earlier runs: tests that were killed left mounts there."""
    for folder in Path(tempfile.gettempdir()).glob("pytest-of-*/garbage-*"):
        unmount_all(folder)


@pytest.fixture(scope="session")
def fuzz(request: pytest.FixtureRequest) -> int:
    """How many times as many inputs as usual."""
    return int(request.config.getoption("--fuzz"))


@pytest.fixture
def chance(fuzz: int, record_property: Callable[[str, object], None]) -> random.Random:
    """Decides when something happens: anew each time with ``--fuzz``; reports have the seed."""
    seed = random.randrange(1 << 32) if fuzz > 1 else 7
    record_property("seed", seed)
    return random.Random(seed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI everything is there that a test may need: one that skips has not been run."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"not run in CI: {why}"
    return report
