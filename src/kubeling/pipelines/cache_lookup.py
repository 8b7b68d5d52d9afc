"""Asking the cache, and saying in words what it answered.

A task that has to run starts at once; what its key differs in from earlier ones is said when its
row is stored.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kubeling.artifacts.store import ArtifactError, ArtifactStore
from kubeling.pipelines.cache_misses import Parts, differences
from kubeling.pipelines.caching import AgeLimit
from kubeling.pipelines.nodes import TaskNode
from kubeling.pipelines.records import CacheEntry, EarlierKey
from kubeling.pipelines.sightings import CacheSeen

if TYPE_CHECKING:
    from kubeling.pipelines.execution import Execution
    from kubeling.pipelines.store import RunStore

__all__ = ["explain", "look_up"]

_UNKNOWN: Final = "not cached: nothing ran with the same inputs and code"


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
        return [
            _answer(node, entry, limit, now, artifacts)
            if entry is not None
            else CacheSeen(node.path, _UNKNOWN, unknown=True)
            for node, entry, limit in questions
        ]

    if any(entry is not None and entry.outputs.artifacts for entry in entries.values()):
        return await asyncio.to_thread(answers)
    return answers()  # there are no files to look for


async def explain(store: RunStore, execution: Execution) -> None:
    """Says of tasks whose keys the cache did not know what differs from the nearest earlier one."""
    nodes = [execution.nodes[path] for path in sorted(execution.unexplained)]
    execution.unexplained.clear()
    if not nodes:
        return
    components = {node.component for node in nodes}
    earlier = await store.earlier_keys(execution.facts.namespace, components)
    for node in nodes:
        parts = execution.key_parts.get(node.path)
        if parts is not None and (told := _told(parts, earlier[node.component])):
            node.cache = f"not cached: {told}"


def _label(execution: Execution, node: TaskNode) -> str:
    return execution.component_of(node).executor_label


def _answer(
    node: TaskNode,
    entry: CacheEntry,
    limit: AgeLimit | None,
    now: dt.datetime,
    artifacts: ArtifactStore,
) -> CacheSeen:
    created = entry.created_at.replace(tzinfo=dt.UTC)
    when = _shown(created)
    if limit is not None and now - created > limit.age:
        reason = f"not cached: outputs of {when} are too old: {limit.says}"
        return CacheSeen(node.path, reason)
    missing = _missing(entry, artifacts)
    if missing:
        return CacheSeen(node.path, f"not cached: artifact {missing} of {entry.task_id} is gone")
    reason = f"same inputs and code as in run {entry.run_id} of {when}: its outputs are taken"
    return CacheSeen(node.path, reason, entry.outputs, entry.task_id)


def _told(parts: Parts, earlier: Sequence[EarlierKey]) -> str:
    """What differs from the nearest earlier task of the component, if anything can be said."""
    if not earlier:
        return ""
    nearest, told = differences(parts, [key.parts for key in earlier])
    key = earlier[nearest]
    against = f"(against run {key.run_id} of {_shown(key.created_at)})"
    return f"{', '.join(told)} {against}" if told else ""


def _shown(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


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
