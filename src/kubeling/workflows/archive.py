"""The archive: finished Workflows in the metadata database, after their objects are gone, too.

Whether there is one, and for how long it keeps what, is a setting (``workflows.archive``,
``workflows.archive_ttl``; upstream's ``persistence.archive`` and ``archiveTTL``). Workflows are
filed at their end, before anything deletes them, and labelled so; they carry
``workflow-archiving-status`` as upstream's do. What has outlived its time goes when the archive is
next used: an idle platform has nothing to do.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from kubeling.kube.durations import parse_duration
from kubeling.kube.objects import Obj, labels
from kubeling.workflows.settings import WorkflowSettings

if TYPE_CHECKING:
    from kubeling.component import Context
    from kubeling.metadata.database import Database
    from kubeling.workflows.archive_store import ArchiveStore

__all__ = ["LABEL_ARCHIVING", "Archive", "is_archived"]

LABEL_ARCHIVING: Final = "workflows.argoproj.io/workflow-archiving-status"
_EXPIRY_INTERVAL: Final = 600.0


def is_archived(workflow: Obj) -> bool:
    """Whether a live Workflow is in the archive as it is."""
    return labels(workflow).get(LABEL_ARCHIVING) == "Archived"


class Archive:
    """The archive as controllers, REST faces and pages use it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = WorkflowSettings.of(context.settings)
        self._store: ArchiveStore | None = None
        self._expired_at = float("-inf")

    @property
    def enabled(self) -> bool:
        """Whether Workflows are archived."""
        return self._settings.archive

    async def store(self) -> ArchiveStore:
        """The rows, opened on first use; what is too old is gone."""
        if self._store is None:
            database = await self._context.open_database()
            self._store = await asyncio.to_thread(_store_on, database)
        await self._expire(self._store)
        return self._store

    async def file(self, workflow: Obj, marks: Mapping[str, str]) -> None:
        """Files a finished Workflow that has all its nodes, with the labels of its end."""
        metadata = workflow["metadata"]
        marked = {**labels(workflow), **marks, LABEL_ARCHIVING: "Persisted"}
        kept = {key: value for key, value in metadata.items() if key != "managedFields"}
        status = {k: v for k, v in workflow["status"].items() if k != "offloadNodeStatusVersion"}
        filed = {**workflow, "metadata": {**kept, "labels": marked}, "status": status}
        await (await self.store()).put(filed)

    async def _expire(self, store: ArchiveStore) -> None:
        ttl = parse_duration(self._settings.archive_ttl)
        now = self._context.clock.monotonic()
        if ttl and now - self._expired_at >= _EXPIRY_INTERVAL:
            self._expired_at = now
            await store.expire(self._context.clock.now() - dt.timedelta(seconds=ttl))


def _store_on(database: Database) -> ArchiveStore:
    from kubeling.workflows.archive_store import ArchiveStore

    return ArchiveStore(database)
