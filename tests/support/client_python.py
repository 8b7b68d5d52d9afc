"""Python interpreters with the clients users have, each in an environment of its own.

The clients pin versions of common packages that the platform does not, and one another's. An
environment is built once per set of requirements and kept in ``.venvs`` (not in Git).
"""

from __future__ import annotations

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
    if not mark.exists():
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        _run(str(_UV), "pip", "install", "--quiet", "--python", str(python), *requirements)
        mark.write_text(text)
    return python


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
