"""What went wrong with a database, in words and as an answer of the API: full, away, or in the way.

Controllers try again what failed with these, and clients read their messages; whatever else a
database says is a fault of ours.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import sqlalchemy as sa

from kubeling.kube.errors import ApiError, InsufficientStorage, ServiceUnavailable

__all__ = ["is_deadlock", "shown_url", "told"]

_SHM_FULL: Final = 4874
"""SQLite's code where the file beside its log cannot grow."""
_POSTGRESQL_FULL: Final = "53100"
_POSTGRESQL_AWAY: Final = ("08", "57P", "53300")
_POSTGRESQL_DEADLOCKS: Final = ("40001", "40P01")
_MYSQL_FULL: Final = frozenset({3, 20, 28, 1021, 1114})
_MYSQL_AWAY: Final = frozenset({1040, 1053, 1927, 2002, 2003, 2006, 2013, 2055, 4031})
_MYSQL_DEADLOCKS: Final = frozenset({1205, 1213})


def told(error: sa.exc.DBAPIError, url: str) -> ApiError | None:
    """The answer for a database that is full or away; ``None`` for everything else."""
    place = shown_url(url)
    if _is_full(error):
        return InsufficientStorage(
            f"the disk that holds the metadata database {place} is full: free some space and try "
            "again; nothing already stored was lost"
        )
    if _is_locked(error):
        return ServiceUnavailable(
            f"the metadata database {place} is held by another process: end that process, or try "
            "again later"
        )
    if _is_away(error):
        why = str(error.orig).partition("\n")[0]
        return ServiceUnavailable(
            f"the metadata database {place} cannot be reached: {why}; it is tried again"
        )
    return None


def is_deadlock(error: sa.exc.DBAPIError) -> bool:
    """Whether two transactions stood in each other's way, so that this one may go again."""
    return _state(error) in _POSTGRESQL_DEADLOCKS or _number(error) in _MYSQL_DEADLOCKS


def shown_url(url: str) -> str:
    """A database's address without its password."""
    return sa.engine.make_url(url).render_as_string(hide_password=True)


def _is_full(error: sa.exc.DBAPIError) -> bool:
    code = _sqlite_code(error)
    full = code & 0xFF == sqlite3.SQLITE_FULL or code == _SHM_FULL
    return full or _state(error) == _POSTGRESQL_FULL or _number(error) in _MYSQL_FULL


def _is_locked(error: sa.exc.DBAPIError) -> bool:
    return _sqlite_code(error) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _is_away(error: sa.exc.DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return False
    return (
        error.connection_invalidated
        or _state(error).startswith(_POSTGRESQL_AWAY)
        or _number(error) in _MYSQL_AWAY
        or (isinstance(error, sa.exc.OperationalError) and not _state(error) and not _number(error))
    )


def _sqlite_code(error: sa.exc.DBAPIError) -> int:
    return int(getattr(error.orig, "sqlite_errorcode", 0))


def _state(error: sa.exc.DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _number(error: sa.exc.DBAPIError) -> int:
    arguments: tuple[Any, ...] = getattr(error.orig, "args", ())
    is_mysql = "mysql" in type(error.orig).__module__
    return arguments[0] if is_mysql and arguments and isinstance(arguments[0], int) else 0
