"""Removing what containers leave behind, whatever permissions it has."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["remove_tree"]


def remove_tree(folder: Path) -> None:
    """Removes a folder with all in it; overlays leave work folders nobody may enter.

    Raises :class:`PermissionError` for what belongs to somebody else.
    """
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
