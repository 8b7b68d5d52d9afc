"""The folder of one environment: whether it is whole, when it was last used, and what it takes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

import msgspec

__all__ = [
    "COMPLETE",
    "built_size",
    "mark_used",
    "mark_whole",
    "size_of",
    "start_over",
    "survey",
]

COMPLETE: Final = "complete"
"""The file that says an environment is whole; its time is when it was last used."""


class _Built(msgspec.Struct, frozen=True):
    size: int
    requirements: tuple[str, ...]


def start_over(home: Path) -> None:
    """Removes what an earlier attempt has left, and makes the folder that it is to be in."""
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)


def mark_whole(home: Path, size: int, requirements: Iterable[str] = ()) -> None:
    """From now on the environment can be used; the requirements are for people who look in."""
    (home / COMPLETE).write_bytes(msgspec.json.encode(_Built(size, tuple(requirements))))


def mark_used(home: Path) -> bool:
    """Whether an environment is there and whole; from now on it was used just now."""
    try:
        os.utime(home / COMPLETE)
    except FileNotFoundError:
        return False
    return True


def built_size(home: Path) -> int:
    """What an environment takes, as was found when it was built."""
    try:
        return msgspec.json.decode((home / COMPLETE).read_bytes(), type=_Built).size
    except (FileNotFoundError, msgspec.DecodeError):
        return 0


def survey(home: Path, known: Collection[Path] = ()) -> int:
    """What an environment takes, in bytes, but for what is known; makes the folders for byte code.

    With them no folder of modules changes any more when those are compiled: templates that have
    imported from one would be taken for out of date.
    """
    skipped = frozenset(map(str, known))
    total, pending = 0, [str(home)]
    while pending:
        folder = pending.pop()
        has_modules = has_cache = False
        with os.scandir(folder) as entries:
            for entry in entries:
                has_cache |= entry.name == "__pycache__"
                if entry.path in skipped:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    has_modules |= entry.name.endswith(".py")
        if has_modules and not has_cache:
            os.mkdir(f"{folder}/__pycache__")
    return total


def size_of(folder: Path) -> int:
    """What a folder takes on disk, in bytes."""
    total = 0
    for parent, _, files in os.walk(folder):
        for file in files:
            total += os.lstat(os.path.join(parent, file)).st_blocks * 512
    return total
