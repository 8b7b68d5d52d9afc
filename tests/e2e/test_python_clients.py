"""Python's Kubernetes clients, unmodified, each in an environment of its own.

What each must be able to do is an ordinary test module in ``clients/``, run there by the pytest of
the client's environment, with nothing but a kubeconfig to go by.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.client_python import python_with
from tests.support.platform import Platform, started

pytestmark = pytest.mark.e2e

CLIENTS = Path(__file__).parent / "clients"
PYTEST = ("pytest", "pytest-asyncio")


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory, workspace: Path) -> Iterator[Platform]:
    """A platform that has crashed and come back: it remembers its objects, not its history."""
    with started(tmp_path_factory.mktemp("clients") / "data", workspace) as platform:
        platform.kill()
        platform.start()
        yield platform


@pytest.mark.parametrize(
    ("module", "requirements", "client"),
    [
        pytest.param("official", ["kubernetes==37.0.2"], "kubernetes", id="kubernetes"),
        pytest.param("asynchronous", ["kubernetes==37.0.2"], "kubernetes.aio", id="kubernetes.aio"),
        pytest.param(
            "asynchronous", ["kubernetes_asyncio==36.1.0"], "kubernetes_asyncio", id="asyncio"
        ),
        pytest.param("light", ["lightkube==1.0.1"], "lightkube", id="lightkube"),
        pytest.param("kr8s_objects", ["kr8s==0.20.15"], "kr8s", id="kr8s"),
        pytest.param("kopf_operated", ["kopf==1.45.2"], "kopf", id="kopf"),
        pytest.param("hera_workflow", ["hera==7.1.0", "kubernetes==37.0.2"], "hera", id="hera"),
    ],
)
def test_a_client_does_what_it_can(
    restarted: Platform, tmp_path: Path, module: str, requirements: list[str], client: str
) -> None:
    python = python_with(*requirements, *PYTEST)
    command = [str(python), "-m", "pytest", "-c", "/dev/null", "--noconftest", "--quiet"]
    options = [
        f"--rootdir={CLIENTS}",
        f"--basetemp={tmp_path / 'inner'}",
        *("-p", "no:cacheprovider", "-o", "asyncio_mode=auto"),
        *("-o", "asyncio_default_fixture_loop_scope=function"),
    ]
    done = subprocess.run(
        [*command, *options, str(CLIENTS / f"{module}.py")],
        env={**restarted.environment, "CLIENT": client, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
