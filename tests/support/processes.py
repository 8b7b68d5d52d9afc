"""What a platform leaves running, by what the system says of every process."""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["processes_of"]


_PASSING = (b" - nsfs ", b" - tmpfs ")
"""Mounts that any process copies which makes a mount namespace of its own just then."""


def processes_of(data_dir: Path) -> list[str]:
    """The processes that were started from a data directory, by what /proc says of them."""
    needle, found = str(data_dir).encode(), []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            said = [(process / part).read_bytes() for part in ("cmdline", "environ")]
            mounts = (process / "mountinfo").read_bytes().splitlines()
            said += [line for line in mounts if not any(kind in line for kind in _PASSING)]
            if any(needle in part for part in said):
                found.append(f"{process.name}: {said[0].replace(bytes(1), b' ').decode()}")
    return found
