"""The SDK's own environment: its pins do not go together with those of the platform."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

__all__ = ["environment"]

ROOT: Final = Path(__file__).parents[2]
INSTALLABLE: Final = "2.17.0"
"""The release whose pins can all be had; others are put over it without their dependencies."""


def environment(version: str) -> Path:
    """The Python of an environment with kfp, kfp-kubernetes and pytest, made once."""
    home = ROOT / ".venvs" / "kfp"
    python = home / "bin" / "python"
    complete = home / f"kfp-{version}-tested"
    if not complete.exists():
        shutil.rmtree(home, ignore_errors=True)
        uv = shutil.which("uv", path=Path(sys.executable).parent) or "uv"
        install = [uv, "pip", "install", "--quiet", "--python", str(python)]
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(home)], check=True)
        subprocess.run([*install, f"kfp=={INSTALLABLE}", "pytest"], check=True)
        wanted = [f"kfp=={version}", f"kfp-kubernetes=={version}"]
        subprocess.run([*install, "--no-deps", *wanted], check=True)
        complete.touch()
    return python
