"""Opening the metadata database, upgrading its schema, and running transactions off the loop.

This module is imported on first use, and Alembic only when the schema is not at the newest
revision, because an idle platform needs neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from kubeling.kube.errors import ServiceUnavailable
from kubeling.metadata import mysql_types as mysql_types
from kubeling.metadata.failures import is_deadlock, shown_url, told
from kubeling.metadata.urls import driver_url

__all__ = ["HEAD", "METADATA", "Database", "DatabaseError"]

T = TypeVar("T")

HEAD: Final = "0015"
"""The newest revision in ``migrations/versions``."""

METADATA: Final = sa.MetaData()


_TRIES: Final = 5
"""How often a transaction goes again that another one stood in the way of."""


class DatabaseError(ServiceUnavailable):
    """The database cannot be used; the message says why and what to do."""


class Database:
    """One metadata database.

    ``run`` executes a function in a transaction: it commits when the function returns and rolls
    back when it raises. A full disk is :class:`InsufficientStorage`, a database that cannot be
    reached :class:`ServiceUnavailable`. On SQLite one thread does all the work, so writers never
    wait for each other's locks; other databases get a small pool, and a function whose transaction
    another one stood in the way of is executed again.
    """

    def __init__(self, url: str) -> None:
        """Raises :class:`~kubeling.metadata.urls.UnusableUrl`."""
        self.url = driver_url(url)
        self._lock = threading.Lock()
        threads = 1 if self.is_sqlite else 4
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="metadata")

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite")

    @cached_property
    def engine(self) -> sa.Engine:
        """The engine, with the schema at :data:`HEAD`."""
        with self._lock:
            engine = sa.create_engine(self.url, pool_pre_ping=not self.is_sqlite)
            if self.is_sqlite:
                sa.event.listen(engine, "connect", _configure_sqlite)
            try:
                self._migrate(engine)
            except sa.exc.SQLAlchemyError as error:
                why = getattr(error, "orig", None) or error
                message = f"cannot open the metadata database {shown_url(self.url)}: {why}"
                raise DatabaseError(message) from error
            return engine

    @property
    def is_open(self) -> bool:
        """Whether a transaction can begin without waiting for the schema's upgrade."""
        return "engine" in self.__dict__

    def open(self) -> None:
        """Opens the database now rather than with the first transaction."""
        _ = self.engine

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs ``work`` in a transaction, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self.run_sync, work)

    def run_sync(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs ``work`` in a transaction, in this thread."""
        for left in reversed(range(_TRIES)):
            try:
                with self.engine.begin() as connection:
                    return work(connection)
            except sa.exc.DBAPIError as error:
                if left and is_deadlock(error):
                    continue
                if (answer := told(error, self.url)) is not None:
                    raise answer from error
                raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Waits for transactions under way and closes the connections."""
        self._executor.shutdown()
        if self.is_open:
            self.engine.dispose()

    def _migrate(self, engine: sa.Engine) -> None:
        current = _revision(engine)
        if current == HEAD:
            return
        if current is not None and current > HEAD:
            raise DatabaseError(
                f"the metadata database {shown_url(self.url)} was written by a newer version "
                f"(revision {current}, this one knows {HEAD}); upgrade kubeling"
            )
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with _whole(engine) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


@contextlib.contextmanager
def _whole(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that changes of the schema are part of.

    Python's driver for SQLite begins none for them, so a crash would leave half a schema. The lock
    makes a second process wait, and find the upgrade done.
    """
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            yield connection
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        connection.exec_driver_sql("COMMIT")


def _revision(engine: sa.Engine) -> str | None:
    if not sa.inspect(engine).has_table("alembic_version"):
        return None
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _configure_sqlite(connection: Any, _: Any) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "busy_timeout=10000",
    ):
        connection.execute(f"PRAGMA {pragma}")
