"""Asking the cache, and saying in words what it answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubeling.artifacts.store import ArtifactError, ArtifactStore
from kubeling.pipelines.nodes import TaskNode
from kubeling.pipelines.records import CacheEntry
from kubeling.pipelines.sightings import CacheSeen

if TYPE_CHECKING:
    from kubeling.pipelines.store import RunStore

__all__ = ["look_up"]


async def look_up(
    store: RunStore, artifacts: ArtifactStore, where: str, nodes: Sequence[TaskNode]
) -> list[CacheSeen]:
    """The cache's answer for each node. Outputs whose files are gone are no answer."""
    entries = await store.cached(where, {node.fingerprint for node in nodes})
    return await asyncio.to_thread(
        lambda: [_answer(node, entries.get(node.fingerprint), artifacts) for node in nodes]
    )


def _answer(node: TaskNode, entry: CacheEntry | None, artifacts: ArtifactStore) -> CacheSeen:
    if entry is None:
        return CacheSeen(node.path, "not cached: nothing ran with the same inputs and code")
    missing = _missing(entry, artifacts)
    if missing:
        return CacheSeen(node.path, f"not cached: artifact {missing} of {entry.task_id} is gone")
    when = entry.created_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    reason = f"outputs of run {entry.run_id} of {when} taken: same inputs and code"
    return CacheSeen(node.path, reason, entry.outputs, entry.task_id)


def _missing(entry: CacheEntry, artifacts: ArtifactStore) -> str:
    for found in entry.outputs.artifacts.values():
        for artifact in found:
            if artifact.digest and not _exists(artifacts, artifact.uri):
                return artifact.uri
    return ""


def _exists(artifacts: ArtifactStore, uri: str) -> bool:
    try:
        return artifacts.exists(uri)
    except ArtifactError:
        return True  # elsewhere: whoever reads it will find out
