"""A full disk, recognised whichever layer ran into it first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from kubeling.cli.errors import CliError
from kubeling.kube.errors import lacks_room

__all__ = ["full_disk"]


def full_disk(error: BaseException, folder: Path) -> CliError | None:
    """What to tell a user whose disk is full; ``None`` for an error of another kind."""
    if not any(_is_full(found) for found in _causes(error)):
        return None
    return CliError(
        f"the disk that holds {folder} is full: free some space and try again; nothing already "
        "stored was lost"
    )


def _is_full(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return lacks_room(error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it groups and what led to it."""
    if error is None:
        return
    yield error
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _causes(part)
    yield from _causes(error.__cause__ or error.__context__)
