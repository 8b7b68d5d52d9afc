"""Copies of folders, whole or not at all: for clones, snapshots and what is restored from them.

``cp`` keeps owners, modes, times, links and holes, and shares the blocks where the file system can
(Btrfs, XFS, APFS), so that a copy takes no time and no space. What is written during a copy may be
in it or not: a pod that needs more must rest meanwhile, as with a snapshot of a disk.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from kubeling.engine.trees import remove_tree

__all__ = ["CopyError", "copy_folder", "remove_folder"]

_COMMAND: Final = ("cp", "-c", "-a") if sys.platform == "darwin" else ("cp", "-a", "--reflink=auto")


class CopyError(Exception):
    """A folder could not be copied; nothing of the copy is left."""


async def copy_folder(source: Path, target: Path) -> None:
    """Copies what is in ``source`` to a new folder; one that is there already is complete."""
    partial = target.parent / f".{target.name}.part"
    try:
        if not await asyncio.to_thread(_begin, partial, target):
            return
        await _copy(source, partial)
        await asyncio.to_thread(os.rename, partial, target)
    except OSError as error:
        await asyncio.to_thread(remove_folder, partial)
        raise CopyError(f"cannot copy {source}: {error.strerror or error}") from error
    except BaseException:
        await asyncio.shield(asyncio.to_thread(remove_folder, partial))
        raise


async def _copy(source: Path, target: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *_COMMAND, f"{source}/.", str(target), stderr=asyncio.subprocess.PIPE
    )
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise CopyError(lines[0] if lines else f"cp ended with {process.returncode}")


def remove_folder(folder: Path) -> None:
    """Removes a folder with all it holds, if it is there."""
    if folder.exists():
        remove_tree(folder)


def _begin(partial: Path, target: Path) -> bool:
    """Makes room for a copy; tells whether there is need for one."""
    if target.exists():
        return False
    remove_folder(partial)
    partial.mkdir(parents=True)
    return True
