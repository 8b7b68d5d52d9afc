"""Runs a command as a user without any rights: ``python -m tests.support.nobody COMMAND …``.

Folders on the way to the interpreter and to these tests that others may not enter (``/root``) are
replaced, for this command alone, by ones that have nothing else in them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from kubeling.engine.sandbox import linux

NOBODY = 65534
ROOT = Path(__file__).parents[2]


def open_the_way(needed: Iterable[Path]) -> None:
    """Gives this process mounts of its own, in which anybody may enter the folders."""
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    closed: dict[Path, dict[Path, int]] = {}
    for folder in needed:
        for above in reversed(folder.parents):
            if not above.stat().st_mode & 0o001:
                opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                closed.setdefault(above, {})[folder] = opened
                break
    for above, folders in closed.items():
        linux.mount("tmpfs", str(above), "tmpfs", data="mode=755")
        for folder, opened in folders.items():
            folder.mkdir(parents=True, exist_ok=True)
            source = f"/proc/self/fd/{opened}"
            linux.mount(source, str(folder), flags=linux.MS_BIND | linux.MS_REC)


def main() -> None:
    open_the_way({Path(sys.base_prefix).resolve(), Path(sys.prefix), ROOT})
    os.chdir(ROOT)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    os.execve(sys.argv[1], sys.argv[1:], {"PATH": os.environ["PATH"], "HOME": "/nowhere"})


if __name__ == "__main__":
    main()
