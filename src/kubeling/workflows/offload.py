"""Where the nodes of a Workflow are: in its status or, beyond a size, in the metadata database.

An object has a size that it must not exceed, and is written and sent whole whenever it changes. So
beyond :data:`MAX_SIZE` the nodes leave the status and become rows, one each, of which a write
touches those that changed. The status keeps ``offloadNodeStatusVersion``, as upstream's does
(``persist/sqldb/offload_node_status_repo.go``, which files a copy of all nodes per version), and
whoever reads a Workflow's nodes reads them through :meth:`Offload.hydrated`. The database is opened
when the first large Workflow comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

import msgspec

from kubeling.kube.objects import Obj, uid

if TYPE_CHECKING:
    from kubeling.component import Context
    from kubeling.metadata.database import Database
    from kubeling.workflows.node_store import NodeStore

__all__ = ["MAX_SIZE", "Offload", "is_offloaded"]

MAX_SIZE: Final = 1024 * 1024
"""Bytes of JSON a Workflow may have before its nodes go elsewhere, as upstream."""


_VERSION: Final = "offloadNodeStatusVersion"


def is_offloaded(workflow: Obj) -> bool:
    """Whether a Workflow's nodes are in the database."""
    return bool((workflow.get("status") or {}).get(_VERSION))


class Offload:
    """The offloaded nodes, as controllers, REST faces and pages use them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store: NodeStore | None = None

    async def store(self) -> NodeStore:
        """The rows, opened on first use."""
        if self._store is None:
            database = await self._context.open_database()
            self._store = await asyncio.to_thread(_store_on, database)
        return self._store

    async def hydrated(self, workflow: Obj) -> Obj:
        """The Workflow with its nodes in ``status.nodes``, wherever they are kept."""
        if not is_offloaded(workflow):
            return workflow
        version, nodes = await (await self.store()).load(uid(workflow))
        status = {**workflow["status"], "nodes": nodes, _VERSION: str(version)}
        return {**workflow, "status": status}

    async def dehydrated(self, workflow: Obj) -> Obj:
        """The Workflow as it is to be written: its nodes in the database if they are many.

        Raises ``Conflict`` if somebody has written them since :meth:`hydrated`.
        """
        status: Obj = workflow.get("status") or {}
        nodes: Obj = status.get("nodes") or {}
        texts = {key: msgspec.json.encode(node) for key, node in nodes.items()}
        known = int(status[_VERSION]) if is_offloaded(workflow) else None
        if known is None and sum(map(len, texts.values())) <= MAX_SIZE:
            return workflow
        rows = {key: (place, text) for place, (key, text) in enumerate(texts.items())}
        store = await self.store()
        version = await store.save(uid(workflow), rows, known, whole=True)
        kept = {key: value for key, value in status.items() if key != "nodes"}
        return {**workflow, "status": {**kept, _VERSION: str(version)}}

    async def forget(self, uids: Collection[str]) -> None:
        """Deletes the nodes of Workflows that are no more."""
        if uids:
            await (await self.store()).forget(uids)


def _store_on(database: Database) -> NodeStore:
    from kubeling.workflows.node_store import NodeStore

    return NodeStore(database)
