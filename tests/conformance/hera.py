"""hera's own tests of a live server: every example is linted, and most are run.

They (``tests/submissions``) speak to ``https://localhost:2746`` and take what they need for
granted: the namespace and the service account ``argo``. Each example waits 40 seconds before it
looks, so many run side by side. What hera leaves out itself is not runnable here either.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import re
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.conformance.argo import IMAGES
from tests.conformance.rows import Case, Platform, Row
from tests.support.client_python import python_with

from kubeling.apiserver.tls import Authority
from kubeling.kube.client import Client
from kubeling.kube.config import load
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.https import HttpsTransport
from kubeling.kube.objects import new_object
from kubeling.kube.resources import NAMESPACES, ROLE_BINDINGS, SERVICE_ACCOUNTS

__all__ = ["ENVIRONMENT", "IMAGES", "cases", "run"]

ENVIRONMENT: Final = {"KUBELING_ENGINE_CAPACITY": "{cpu: '8'}"}
"""What one of the examples asks for and a small machine has not; none of it is used."""

_TESTS: Final = "hera/tests/submissions"
_EXAMPLES: Final = "hera/examples/workflows"
_NEEDS: Final = (
    "hera[yaml,async-client,cli]==7.1.0",
    "numpy",
    "pandas",
    "pytest",
    "pytest-asyncio",
    "pytest-xdist",
)
_PORT: Final = 2746
_NAMESPACE: Final = "argo"
_AT_ONCE: Final = 12
_WITHIN: Final = 1800.0
_GROUPS: Final = {"test_lint": "hera lint", "test_submission": "hera submission"}


def cases(upstream: Path) -> list[Case]:
    """Every example twice, as it is linted and as it is run, and the other tests."""
    examples = upstream / _EXAMPLES
    files = sorted(p for p in examples.rglob("*.py") if p.stem != "__init__")
    own = [path for path in files if "upstream" not in path.relative_to(examples).parts]
    found = [Case(path.stem, group, path) for group in _GROUPS.values() for path in own]
    for path in sorted((upstream / _TESTS).glob("test_*.py")):
        names = re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
        found += [Case(name, "hera tests", path) for name in names if name not in _GROUPS]
    return found


async def run(chosen: Sequence[Case], platform: Platform) -> list[Row]:
    """Runs hera's tests of the cases, all in one go."""
    await _prepare(platform)
    with tempfile.TemporaryDirectory(prefix="hera-") as folder:
        async with _secured(platform, Path(folder)):
            outcomes = await _tested(chosen, Path(folder)) if chosen else {}
    return [_row(case, outcomes) for case in chosen]


async def _prepare(platform: Platform) -> None:
    """The namespace, and an account in it that may what upstream's quick start lets it."""
    binding = new_object(
        ROLE_BINDINGS,
        "argo",
        _NAMESPACE,
        roleRef={"apiGroup": ROLE_BINDINGS.group, "kind": "ClusterRole", "name": "admin"},
        subjects=[{"kind": "ServiceAccount", "name": "argo", "namespace": _NAMESPACE}],
    )
    client = Client(HttpsTransport(load(platform.kubeconfig)))
    try:
        for resource, obj in (
            (NAMESPACES, new_object(NAMESPACES, _NAMESPACE)),
            (SERVICE_ACCOUNTS, new_object(SERVICE_ACCOUNTS, "argo", _NAMESPACE)),
            (ROLE_BINDINGS, binding),
        ):
            with contextlib.suppress(AlreadyExists):
                await client.create(resource, obj)
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def _secured(platform: Platform, folder: Path) -> AsyncIterator[None]:
    """The platform's address as the tests know it: with TLS, on upstream's port."""
    target = urlsplit(platform.url)

    async def pass_on(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError), contextlib.closing(to):
            while data := await source.read(1 << 16):
                to.write(data)
                await to.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, back = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(pass_on(reader, back), pass_on(inner, writer))

    context = Authority(folder).server_context("localhost", dt.datetime.now(dt.UTC))
    async with await asyncio.start_server(serve, "127.0.0.1", _PORT, ssl=context):
        yield


async def _tested(chosen: Sequence[Case], folder: Path) -> dict[str, tuple[str, str]]:
    """What became of each test, by its id, and why."""
    root = next(p for p in chosen[0].path.parents if p.name == "hera" and (p / "tests").is_dir())
    report = folder / "report.xml"
    python = await asyncio.to_thread(python_with, *_NEEDS)
    command = [
        *(str(python), "-m", "pytest", "-c", "/dev/null", f"--rootdir={root}", "-q"),
        *("-p", "no:cacheprovider", "-p", "no:warnings", f"-n{_AT_ONCE}"),
        *("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"),
        f"--junitxml={report}",
        *(_test_id(case) for case in chosen),
    ]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=root, env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(_WITHIN):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    tree = await asyncio.to_thread(report.read_text)
    return dict(_outcomes(ET.fromstring(tree)))


def _test_id(case: Case) -> str:
    for test, group in _GROUPS.items():
        if group == case.group:
            return f"tests/submissions/test_examples.py::{test}[{case.name}]"
    return f"tests/submissions/{case.path.name}::{case.name}"


def _outcomes(report: ET.Element) -> Iterator[tuple[str, tuple[str, str]]]:
    for test in report.iter("testcase"):
        name = str(test.get("name"))
        for kind in ("failure", "error", "skipped"):
            found = test.find(kind)
            if found is not None:
                lines = str(found.get("message") or "").strip().splitlines() or [kind]
                yield name, (kind, lines[0][:300])
                break
        else:
            yield name, ("", "")


def _row(case: Case, outcomes: dict[str, tuple[str, str]]) -> Row:
    name = _test_id(case).rpartition("::")[2]
    kind, why = outcomes.get(name, ("error", "it did not run"))
    if kind == "skipped":
        return Row(case.name, case.group, "not runnable", f"hera leaves it out: {why}")
    return Row(case.name, case.group, "failed" if kind else "passed", why)
