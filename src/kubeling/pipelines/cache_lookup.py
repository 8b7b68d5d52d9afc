"""Asking the cache, and saying in words what it answered."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubeling.artifacts.store import ArtifactError, ArtifactStore
from kubeling.pipelines.caching import AgeLimit
from kubeling.pipelines.nodes import TaskNode
from kubeling.pipelines.records import CacheEntry
from kubeling.pipelines.sightings import CacheSeen

if TYPE_CHECKING:
    from kubeling.pipelines.execution import Execution
    from kubeling.pipelines.store import RunStore

__all__ = ["look_up"]


async def look_up(
    store: RunStore, artifacts: ArtifactStore, execution: Execution, nodes: Sequence[TaskNode]
) -> list[CacheSeen]:
    """The cache's answer for each node. Outputs that are too old or gone are no answer."""
    entries = await store.cached(execution.facts.namespace, {node.fingerprint for node in nodes})
    rules, now = execution.facts.cache, execution.now
    questions = [
        (node, entries.get(node.fingerprint), rules.limit(_label(execution, node)))
        for node in nodes
    ]

    def answers() -> list[CacheSeen]:
        return [_answer(node, entry, limit, now, artifacts) for node, entry, limit in questions]

    if any(entry is not None and entry.outputs.artifacts for entry in entries.values()):
        return await asyncio.to_thread(answers)
    return answers()  # there are no files to look for


def _label(execution: Execution, node: TaskNode) -> str:
    return execution.component_of(node).executor_label


def _answer(
    node: TaskNode,
    entry: CacheEntry | None,
    limit: AgeLimit | None,
    now: dt.datetime,
    artifacts: ArtifactStore,
) -> CacheSeen:
    if entry is None:
        return CacheSeen(node.path, "not cached: nothing ran with the same inputs and code")
    created = entry.created_at.replace(tzinfo=dt.UTC)
    when = created.strftime("%Y-%m-%d %H:%M:%S UTC")
    if limit is not None and now - created > limit.age:
        reason = f"not cached: outputs of {when} are too old: {limit.says}"
        return CacheSeen(node.path, reason)
    missing = _missing(entry, artifacts)
    if missing:
        return CacheSeen(node.path, f"not cached: artifact {missing} of {entry.task_id} is gone")
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
