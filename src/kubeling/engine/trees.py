"""Removing what containers leave behind, whatever permissions it has."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

__all__ = ["remove_tree"]

_ATTEMPTS: Final = 5


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
