"""What tests mount, and what those leave mounted that are killed."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["unmount_all"]

_MOUNTS = Path("/proc/self/mountinfo")


def unmount_all(folder: Path) -> None:
    """Takes away whatever is still mounted in a folder, the last mount first."""
    lines = _MOUNTS.read_text().splitlines() if _MOUNTS.exists() else []
    for target in reversed([line.split()[4] for line in lines]):
        if Path(target).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", target], capture_output=True, check=False)
