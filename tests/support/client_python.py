"""Python interpreters with the clients users have, each in an environment of its own.

The clients pin versions of common packages that the platform does not, and one another's. An
environment is built once per set of requirements and kept in ``.venvs`` (not in Git), whichever of
the processes that run tests asks first. It has no pip, which takes longer than all else.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

__all__ = ["python_with"]

_ROOT = Path(__file__).parents[2] / ".venvs"
_UV = Path(sys.executable).parent / "uv"


def python_with(*requirements: str) -> Path:
    """The interpreter of an environment with the given packages."""
    text = "\n".join(sorted(requirements))
    folder = _ROOT / hashlib.sha256(text.encode()).hexdigest()[:12]
    python, mark = folder / "bin" / "python", folder / ".complete"
    if mark.exists():
        return python
    _ROOT.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists():
            _run(sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder))
            _run(str(_UV), "pip", "install", "--quiet", "--python", str(python), *requirements)
            mark.write_text(text)
    return python


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
