"""The platform of the end-to-end tests: with its controllers inside, and with them apart."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.platform import Platform, started

ROOT = Path(__file__).parents[2]
SEEDS = Path(__file__).parent / "seeds"


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user has it: scripts and data."""
    folder = tmp_path_factory.mktemp("workspace")
    for source in (Path(__file__).parent / "workspace").iterdir():
        shutil.copy(source, folder)
    return folder


@pytest.fixture(scope="session", params=["in-process", "separate"])
def platform(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, workspace: Path
) -> Iterator[Platform]:
    """A running platform; every test that uses it runs once per place of the controllers."""
    data_dir = tmp_path_factory.mktemp("data") / request.param
    with started(data_dir, workspace, request.param) as platform:
        yield platform


@pytest.fixture(scope="session")
def solo(tmp_path_factory: pytest.TempPathFactory, workspace: Path) -> Iterator[Platform]:
    """A running platform for tests that the place of the controllers cannot matter to."""
    with started(tmp_path_factory.mktemp("solo") / "data", workspace) as platform:
        yield platform
