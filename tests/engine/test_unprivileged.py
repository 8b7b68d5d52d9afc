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
from tests.support.nobody import NOBODY

ROOT = Path(__file__).parents[2]


def as_nobody(*command: str) -> subprocess.CompletedProcess[str]:
    through = [sys.executable, "-m", "tests.support.nobody"]
    return subprocess.run([*through, *command], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
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


def test_reset_deletes_folders_that_containers_have_shut(folder: Path) -> None:
    """An overlay's work folder, and those in it, may be entered by nobody."""
    data = folder / "data"
    shut = data / "engine" / "work" / "incompat"
    shut.mkdir(parents=True)
    (shut / "file").touch()
    (data / "layout").touch()
    for path in (shut / "file", shut, *shut.parents):
        if path.is_relative_to(data):
            os.chown(path, NOBODY, NOBODY)
    shut.chmod(0)
    shut.parent.chmod(0)
    command = ["-m", "kubeling", "reset", "--yes", "--data-dir", str(data)]
    result = as_nobody(sys.executable, *command)
    assert result.stdout == f"Deleted {data}.\n", result.stderr
    assert not data.exists()
