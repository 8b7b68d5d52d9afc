"""Removing what containers leave behind, whatever permissions it has.

A folder's removal may wait for the file system's journal, milliseconds each where others write as
well, and a platform leaves thousands. Many who wait together wait as long as one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

__all__ = ["remove_forest", "remove_tree"]

_ATTEMPTS: Final = 5
_TOGETHER: Final = 16
_DEEPEST: Final = 4
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(folder: Path) -> None:
    """Removes a folder with all in it; overlays leave work folders nobody may enter.

    Raises :class:`PermissionError` for what belongs to somebody else.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _remove(folder)
            return
        except OSError as error:
            # Somebody who is just ending still puts something there.
            if error.errno != errno.ENOTEMPTY or attempt == _ATTEMPTS:
                raise


def remove_forest(folder: Path) -> None:
    """The same for a folder with very many in it."""
    with contextlib.suppress(OSError):
        # What is left, and why, is the other's to find.
        _thin_out(folder)
    remove_tree(folder)


def _thin_out(folder: Path) -> None:
    """Removes many of the folders below at once, none of them by way of a link."""
    with contextlib.ExitStack() as opened:

        def entered(name: str | Path, parent: int | None = None) -> int:
            descriptor = os.open(name, _FOLDER, dir_fd=parent)
            opened.callback(os.close, descriptor)
            return descriptor

        parents, found = [entered(folder)], []
        for _ in range(_DEEPEST):
            found = [(parent, name) for parent in parents for name in _folders(parent)]
            if len(found) >= _TOGETHER:
                break
            parents = [entered(name, parent) for parent, name in found]
        with ThreadPoolExecutor(_TOGETHER, thread_name_prefix="removal") as pool:
            for parent, name in found:
                pool.submit(shutil.rmtree, name, ignore_errors=True, dir_fd=parent)


def _folders(descriptor: int) -> list[str]:
    with os.scandir(descriptor) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder, onerror=_unless_missing)
    except PermissionError:
        _open_up(folder)
        shutil.rmtree(folder, onerror=_unless_missing)


def _unless_missing(call: Callable[..., Any], path: str, caught: Any) -> None:
    """Somebody else may be removing the same."""
    if not isinstance(caught[1], FileNotFoundError):
        raise caught[1]


def _open_up(folder: Path) -> None:
    pending = [os.fspath(folder)]
    while pending:
        closed = pending.pop()
        with contextlib.suppress(FileNotFoundError):
            os.chmod(closed, 0o700)
            with os.scandir(closed) as entries:
                pending += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
