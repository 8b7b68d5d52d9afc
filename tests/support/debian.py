"""Programs from Debian's archive, unpacked beside the clients' environments, not installed.

A package installed for a test would start its services and stay; its files alone do neither.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["debian_program"]

_ROOT = Path(__file__).parents[2] / ".venvs" / "debian"


def debian_program(package: str) -> Path | None:
    """The program a package is named after: the system's, else the archive's, else none."""
    if found := shutil.which(package):
        return Path(found)
    program = _ROOT / package / "usr" / "bin" / package
    if not program.exists():
        if shutil.which("apt-get") is None:
            return None
        _unpack(package)
    return program


def _unpack(package: str) -> None:
    _ROOT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_ROOT) as folder:
        download = ["apt-get", "download", "-qq", package]
        if _run(download, folder).returncode and os.geteuid() == 0:
            _run(["apt-get", "update", "-qq"], folder)
            _run(download, folder).check_returncode()
        (archive,) = Path(folder).glob("*.deb")
        _run(["dpkg", "-x", archive.name, str(_ROOT / package)], folder).check_returncode()


def _run(command: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
