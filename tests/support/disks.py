"""Small file systems, and filling them: only root makes one, on Linux."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["fill", "needs_mounts", "small_disk"]

needs_mounts = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root makes a file system, on Linux"
)


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int = 48, files: int = 0) -> Iterator[Path]:
    """A file system of its own at a folder; it may be one for a few files only."""
    folder.mkdir(exist_ok=True)
    size = f"size={megabytes}m" + (f",nr_inodes={files}" if files else "")
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, timeout=20, check=False).returncode != 0:
        pytest.skip("this machine does not let a file system be mounted")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], timeout=20, check=True)


def fill(ballast: Path, left: int = 0) -> None:
    """Writes a file until no more than ``left`` bytes fit on its file system."""
    with ballast.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(file.tell() - left)
