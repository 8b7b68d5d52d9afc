"""A platform whose user has no rights at all gives pods the same, as far as the kernel lets it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534


def as_nobody(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, user=NOBODY, group=NOBODY, extra_groups=[],
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere"}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture
def folder() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    try:
        reachable = as_nobody(sys.executable, "-c", "import pytest").returncode == 0
    except PermissionError:
        reachable = False
    if not reachable:
        pytest.skip("this interpreter is in a folder that other users cannot enter")
    found = Path(tempfile.mkdtemp(dir="/var/tmp"))
    os.chown(found, NOBODY, NOBODY)
    yield found
    shutil.rmtree(found, ignore_errors=True)


def test_pods_of_a_user_without_rights(folder: Path) -> None:
    result = as_nobody(sys.executable, "-m", "tests.engine.as_nobody", str(folder))
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    if not found["walls"]:
        pytest.skip("this kernel gives users no namespaces")
    assert found == {
        "user": NOBODY,
        "walls": True,
        "said": "1234\n",
        "executed": "1234\n",
        "looked": "2 sleep 4321\n",
    }
