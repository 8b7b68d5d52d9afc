"""The file behind the object store: one SQLite table, written in whole transactions.

SQLite in WAL mode was chosen over a log of our own because recovery after ``kill -9`` is its daily
bread. ``synchronous=NORMAL`` makes a commit survive the death of the process but lets the last
moments before a power cut go (never the file's integrity); ``FULL`` waits for the disk on every
commit. The default is NORMAL: a pod's start is a chain of commits, and a laptop's disk takes
milliseconds for each.

The connection is used by one thread at a time. Folding the log into the file waits for the disk, so
it never happens within a commit: the owner calls :meth:`Database.checkpoint` when it is due.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

__all__ = [
    "SCHEMA_VERSION",
    "ArtifactError",
    "Database",
    "Row",
    "StorageFull",
    "StorageInUse",
    "StorageTooNew",
]

SCHEMA_VERSION: Final = 2
"""Until version 2 every commit moved the counter; there is nothing to change in what it wrote."""
_PAGE: Final = 4096
_CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
"""How much is logged, roughly, before the log is folded into the file."""

_SCHEMA: Final = """
CREATE TABLE objects (
    resource  TEXT    NOT NULL,
    namespace TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    version   INTEGER NOT NULL,
    value     BLOB    NOT NULL,
    PRIMARY KEY (resource, namespace, name)
);
CREATE TABLE counter (version INTEGER NOT NULL);
INSERT INTO counter VALUES (1);
"""

_PUT: Final = (
    "INSERT INTO objects VALUES (?, ?, ?, ?, ?) ON CONFLICT (resource, namespace, name) "
    "DO UPDATE SET version = excluded.version, value = excluded.value"
)
_VERSION: Final = (
    "SELECT max(version, (SELECT coalesce(max(version), 0) FROM objects)) FROM counter"
)
_DELETE: Final = "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?"


class ArtifactError(Exception):
    """The store cannot be used; the message is one line for people."""


class StorageFull(ArtifactError):
    """The disk is full. What was acknowledged is kept; the write at hand was not made."""


class StorageInUse(ArtifactError):
    """Another process holds the file."""


class StorageTooNew(ArtifactError):
    """A later release wrote the file."""


class Row(NamedTuple):
    """One object as stored; ``value`` is ``None`` in a row that deletes."""

    resource: str
    namespace: str
    name: str
    version: int
    value: bytes | None


class Database:
    """The objects of one server on disk, held exclusively while open."""

    def __init__(self, path: Path, *, power_loss_safe: bool = False) -> None:
        self.path = path
        self.waits_for_disk = power_loss_safe
        """Whether a commit waits for the disk itself."""
        self._logged = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=1.0
            )
        except (OSError, sqlite3.Error) as error:
            raise ArtifactError(f"cannot open {path}: {error}") from None
        try:
            self._prepare("FULL" if power_loss_safe else "NORMAL")
        except sqlite3.Error as error:
            self._connection.close()
            raise self._translated(error) from error
        except ArtifactError:
            self._connection.close()
            raise

    def load(self) -> Iterator[Row]:
        """Every stored object."""
        for row in self._connection.execute("SELECT * FROM objects"):
            yield Row(*row)

    def version(self) -> int:
        """The highest version ever committed."""
        (version,) = self._connection.execute(_VERSION).fetchone()
        return int(version)

    @property
    def checkpoint_due(self) -> bool:
        """Whether enough was logged to be folded into the file."""
        return self._logged >= _CHECKPOINT_BYTES

    def commit(self, rows: Sequence[Row]) -> None:
        """Makes all changes in one transaction, or none; ``rows`` are in order of version."""
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            for row in rows:
                if row.value is None:
                    execute(_DELETE, row[:3])
                else:
                    execute(_PUT, row)
            if rows[-1].value is None:
                # Elsewhere the last row says its version itself, which saves a page of the log.
                execute("UPDATE counter SET version = ?", (rows[-1].version,))
            execute("COMMIT")
        except sqlite3.Error as error:
            # A disk that fails may fail this as well; what went wrong first is what counts.
            with contextlib.suppress(sqlite3.Error):
                if self._connection.in_transaction:
                    execute("ROLLBACK")
            raise self._translated(error) from error
        self._logged += sum(_PAGE + len(row.value or b"") for row in rows)

    def checkpoint(self) -> None:
        """Folds the write-ahead log into the file, which waits for the disk."""
        self._logged = 0
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def close(self) -> None:
        """Folds the write-ahead log into the file and lets go of it."""
        self._connection.close()

    def _prepare(self, synchronous: str) -> None:
        execute = self._connection.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {synchronous}")
        execute("PRAGMA wal_autocheckpoint = 0")
        execute(f"PRAGMA journal_size_limit = {_CHECKPOINT_BYTES}")
        execute("PRAGMA cache_size = -2048")
        execute("BEGIN IMMEDIATE")
        (found,) = execute("PRAGMA user_version").fetchone()
        if found > SCHEMA_VERSION:
            execute("ROLLBACK")
            raise StorageTooNew(
                f"{self.path} was written by a newer release (format {found}, this one knows "
                f"{SCHEMA_VERSION}): upgrade, or choose another data directory"
            )
        if found == 0:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                execute(statement)
        if found != SCHEMA_VERSION:
            execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        execute("COMMIT")

    def _translated(self, error: sqlite3.Error) -> ArtifactError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        match code:
            case sqlite3.SQLITE_FULL:
                return StorageFull(
                    f"the disk that holds {self.path} is full: free some space and try again; "
                    "nothing already stored was lost"
                )
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return StorageInUse(
                    f"{self.path} is in use by another process: stop it, or choose another data "
                    "directory"
                )
            case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
                return ArtifactError(f"{self.path} is damaged ({error}): restore it from a backup")
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
                return ArtifactError(f"{self.path} cannot be written: {error}")
            case _:
                return ArtifactError(f"{self.path}: {error}")
