"""Opening the metadata database when the first run needs it, and not before."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final

from kubeling.component import Context

if TYPE_CHECKING:
    from kubeling.metadata.database import Database
    from kubeling.pipelines.store import RunStore

__all__ = ["open_database", "run_store"]

_LOCK: Final = threading.Lock()


async def open_database(context: Context) -> Database:
    """The context's database, imported and migrated off the event loop."""
    if "database" in context.__dict__ and "engine" in context.database.__dict__:
        return context.database
    return await asyncio.to_thread(_open, context)


async def run_store(context: Context) -> RunStore:
    """The store of runs on the context's database."""
    database = await open_database(context)
    from kubeling.pipelines.store import RunStore

    return RunStore(database)


def _open(context: Context) -> Database:
    with _LOCK:
        database = context.database
        _ = database.engine
        import kubeling.pipelines.store  # noqa: F401

        return database
