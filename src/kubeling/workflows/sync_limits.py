"""The limits of semaphores "in a database": rows of the metadata database, one per semaphore.

The table is upstream's ``sync_limit`` (``util/sync/db/migration.go``), so what its manual says to
``INSERT`` works here, too. Who holds what is not in the database: see decision 0037.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubeling.workflows.locks import Lock

if TYPE_CHECKING:
    from kubeling.component import Context
    from kubeling.metadata.database import Database
    from kubeling.workflows.sync_limit_store import SyncLimitStore

__all__ = ["SyncLimits"]


class SyncLimits:
    """The limits as the controller and the Argo Server API use them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store: SyncLimitStore | None = None

    async def of(self, semaphores: Sequence[Lock]) -> dict[Lock, int]:
        """How many may hold these; those that have no row are left out."""
        rows = await (await self.store()).read([lock.limit_row for lock in semaphores])
        return {lock: rows[lock.limit_row] for lock in semaphores if lock.limit_row in rows}

    async def store(self) -> SyncLimitStore:
        """The rows, opened on first use."""
        if self._store is None:
            database = await self._context.open_database()
            self._store = await asyncio.to_thread(_store_on, database)
        return self._store


def _store_on(database: Database) -> SyncLimitStore:
    from kubeling.workflows.sync_limit_store import SyncLimitStore

    return SyncLimitStore(database)
