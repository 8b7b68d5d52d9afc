"""The garbage collector: what is owned goes with its owner.

Background: an object all of whose owners are gone is deleted. Foreground: an owner waits (by its
finalizer) until the dependents that block it are gone. Orphan: dependents are cut loose first.
The collector follows every kind, those defined later included, and acts only on what changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from kubeling.component import Context
from kubeling.engine.workloads.ownergraph import FOREGROUND, ORPHAN, Node, OwnerGraph
from kubeling.engine.workloads.resources import (
    OBJECT_KINDS,
    resource_of_definition,
    resource_of_kind,
)
from kubeling.kube.controller import Controller
from kubeling.kube.errors import Conflict, Invalid, NotFound
from kubeling.kube.informer import Informer, Informers
from kubeling.kube.objects import Key, Obj, uid
from kubeling.kube.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    SECRETS,
    Resource,
)

__all__ = ["controller"]

_OwnerState = Literal["present", "waiting", "absent"]


def controller(context: Context) -> Controller:
    """The garbage collector."""
    return _GarbageCollector(context)


class _GarbageCollector(Controller):
    """Works on uids: the keys of its queue have no namespace and a uid for a name."""

    def __init__(self, context: Context) -> None:
        super().__init__("garbage-collector", CUSTOM_RESOURCE_DEFINITIONS, self._collect, workers=8)
        self._client = context.client
        self._informers = context.informers
        self._graph = OwnerGraph()
        self._followed: set[Resource] = set()

    async def run(self, informers: Informers) -> None:
        """Collects until cancelled; begins when every kind's present objects are known."""
        await informers.synced(CUSTOM_RESOURCE_DEFINITIONS)
        for resource in OBJECT_KINDS:
            self._follow(resource)
        informers.of(CUSTOM_RESOURCE_DEFINITIONS).add_handler(self._on_definition)
        for resource in OBJECT_KINDS:
            await self._informer(resource).wait_synced()
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self.workers):
                    group.create_task(self._work(self.queue), name=f"{self.name} worker {number}")
        finally:
            self.queue.close()

    def _on_definition(self, _: Obj | None, crd: Obj | None) -> None:
        if crd is not None and (resource := resource_of_definition(crd)) is not None:
            self._follow(resource)

    def _follow(self, resource: Resource) -> None:
        if resource not in self._followed:
            self._followed.add(resource)
            self._informer(resource).add_handler(self._handler(resource))

    def _informer(self, resource: Resource) -> Informer:
        if resource in (CONFIG_MAPS, SECRETS):
            return self._informers.metadata_of(resource)
        return self._informers.of(resource)

    def _handler(self, resource: Resource) -> Callable[[Obj | None, Obj | None], None]:
        def on_change(old: Obj | None, new: Obj | None) -> None:
            if old is not None and (new is None or uid(new) != uid(old)):
                self._on_gone(uid(old))
            if new is not None:
                self._on_present(Node.of(resource, new))

        return on_change

    def _on_present(self, node: Node) -> None:
        before = self._graph.get(node.uid)
        if before == node:
            return
        self._graph.put(node)
        if node.owners or node.waits_for_dependents or node.orphans_dependents:
            self._wake_uid(node.uid)
        if node.waits_for_dependents and (before is None or not before.waits_for_dependents):
            for dependent in self._graph.dependents(node.uid):
                self._wake_uid(dependent.uid)
        for owner in before.owners if before else ():
            if not node.blocks(owner["uid"]):
                self._wake_waiting(owner["uid"])

    def _on_gone(self, node_uid: str) -> None:
        node = self._graph.get(node_uid)
        self._graph.remove(node_uid)
        for dependent in self._graph.dependents(node_uid):
            self._wake_uid(dependent.uid)
        for owner in node.owners if node else ():
            self._wake_waiting(owner["uid"])

    def _wake_waiting(self, owner_uid: str) -> None:
        owner = self._graph.get(owner_uid)
        if owner is not None and owner.waits_for_dependents:
            self._wake_uid(owner_uid)

    def _wake_uid(self, node_uid: str) -> None:
        self.wake(Key("", node_uid))

    async def _collect(self, key: Key) -> None:
        node = self._graph.get(key.name)
        if node is None:
            return
        if node.orphans_dependents:
            await self._orphan_dependents(node)
        elif node.waits_for_dependents:
            await self._advance_foreground(node)
        elif not node.going:
            await self._judge(node)

    async def _orphan_dependents(self, node: Node) -> None:
        for dependent in list(self._graph.dependents(node.uid)):
            await self._cut(dependent, {node.uid})
        await self._drop_finalizer(node, ORPHAN)

    async def _advance_foreground(self, node: Node) -> None:
        blocking = self._graph.blocking(node.uid)
        if not blocking:
            await self._drop_finalizer(node, FOREGROUND)
            return
        for dependent in blocking:
            if not dependent.going:
                self._wake_uid(dependent.uid)

    async def _judge(self, node: Node) -> None:
        """Deletes an object none of whose owners stays; else forgets the owners that are gone."""
        if not node.owners:
            return
        states = {owner["uid"]: await self._state(node, owner) for owner in node.owners}
        gone = {owner_uid for owner_uid, state in states.items() if state != "present"}
        if len(gone) < len(states):
            if gone:
                await self._cut(node, gone)
            return
        waiting = "waiting" in states.values()
        foreground = waiting and any(True for _ in self._graph.dependents(node.uid))
        await self._client.delete(
            node.resource,
            node.key.name,
            node.key.namespace,
            propagation="Foreground" if foreground else "Background",
            uid=node.uid,
            missing_ok=True,
        )

    async def _state(self, node: Node, owner: Obj) -> _OwnerState:
        known = self._graph.get(owner["uid"])
        if known is not None:
            return "waiting" if known.waits_for_dependents else "present"
        resource = resource_of_kind(self._informers, owner["apiVersion"], owner["kind"])
        if resource is None:
            # Nothing serves the owner's kind, so nobody can say that the owner is gone.
            return "present"
        try:
            where = node.key.namespace if resource.namespaced else ""
            live = await self._client.get(resource, owner["name"], where)
        except NotFound:
            return "absent"
        return "present" if uid(live) == owner["uid"] else "absent"

    async def _cut(self, node: Node, owner_uids: set[str]) -> None:
        """Takes owners off an object's list."""
        try:
            live = await self._client.get(node.resource, node.key.name, node.key.namespace)
        except NotFound:
            return
        if uid(live) != node.uid:
            return
        references = live["metadata"].get("ownerReferences") or []
        kept = [r for r in references if r["uid"] not in owner_uids]
        if len(kept) != len(references):
            await self._patch(node, live, {"ownerReferences": kept or None})

    async def _drop_finalizer(self, node: Node, finalizer: str) -> None:
        try:
            live = await self._client.get(node.resource, node.key.name, node.key.namespace)
        except NotFound:
            return
        present = live["metadata"].get("finalizers") or []
        if uid(live) == node.uid and finalizer in present:
            kept = [entry for entry in present if entry != finalizer]
            await self._patch(node, live, {"finalizers": kept or None})

    async def _patch(self, node: Node, live: Obj, metadata: Obj) -> None:
        version = live["metadata"]["resourceVersion"]
        patch = {"metadata": {**metadata, "resourceVersion": version}}
        try:
            await self._client.patch(node.resource, node.key.name, patch, node.key.namespace)
        except (NotFound, Invalid):
            return
        except Conflict:
            self._wake_uid(node.uid)
