"""Pipelines written in Python: compiled by a Python that has the kfp SDK.

Ours does not: the SDK pins what it needs so narrowly that it wants an environment of its own. The
user's environment comes first (``--python``, an active virtual environment, ``python3``), as the
file may import more than kfp; else uv prepares one and keeps it in its cache.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from kubeling.cli.errors import CliError

__all__ = ["compile_pipeline"]

_SCRIPT: Final = Path(__file__).with_name("compile_script.py")
_SDK: Final = "kfp>=2.13,<3"
_KUBERNETES: Final = "kfp-kubernetes>=2.13,<3"
_TAIL: Final = 12


def compile_pipeline(file: Path, python: str, pipeline: str) -> str:
    """The compiled package, as YAML; raises :class:`CliError` with what the file's errors were."""
    with tempfile.TemporaryDirectory(prefix="kubeling-") as folder:
        answer = Path(folder) / "answer.json"
        words = [str(_SCRIPT), str(file.absolute()), str(answer), pipeline]
        done = subprocess.run(
            [*_interpreter(python), *words], capture_output=True, text=True, check=False
        )
        if not answer.exists():
            raise CliError(f"{file}: it does not compile\n{_tail(done.stderr)}")
        found: dict[str, Any] = json.loads(answer.read_text())
    if error := found.get("error"):
        raise CliError(f"{file}: {error}", str(found.get("hint", "")))
    return str(found["package"])


def _interpreter(python: str) -> list[str]:
    """The command of a Python that can import kfp."""
    if python:
        if not _has_kfp(python):
            raise CliError(f"{python} has no kfp", f"Install it: {python} -m pip install kfp")
        return [python]
    for candidate in _candidates():
        if _has_kfp(candidate):
            return [candidate]
    return _prepared()


def _candidates() -> Iterator[str]:
    if active := os.environ.get("VIRTUAL_ENV"):
        yield str(Path(active) / "bin" / "python")
    for name in ("python3", "python"):
        if found := shutil.which(name):
            yield found
    yield sys.executable


def _has_kfp(python: str) -> bool:
    code = "import importlib.util as u, sys; sys.exit(u.find_spec('kfp') is None)"
    try:
        return (
            subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0
        )
    except OSError:
        return False


def _prepared() -> list[str]:
    """An environment of uv's with the SDK, made on first use."""
    from uv import find_uv_bin

    wanted = ["--with", _SDK, "--with", _KUBERNETES, "--python", sys.executable]
    click.echo("Preparing the kfp SDK; the first time takes a moment …", err=True)
    command = [find_uv_bin(), "run", "--quiet", "--no-project", *wanted, "python"]
    ready = subprocess.run(
        [*command, "-c", "import kfp"], capture_output=True, text=True, check=False
    )
    if ready.returncode != 0:
        raise CliError(
            f"the kfp SDK is not installed, and could not be\n{_tail(ready.stderr)}",
            "Install it where python3 finds it (pip install kfp), name a Python that has it with "
            "--python, or compile the pipeline yourself and run the YAML.",
        )
    return command


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_TAIL:])
