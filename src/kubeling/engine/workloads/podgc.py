"""Pods nobody will end: bound to a node that is gone, or going without having had a node."""

from __future__ import annotations

from kubeling.component import Context
from kubeling.kube.controller import Controller
from kubeling.kube.objects import Key, Obj, deletion_requested, key_of, name, namespace, uid
from kubeling.kube.resources import NODES, PODS

__all__ = ["controller"]


def controller(context: Context) -> Controller:
    """The collector of such pods."""
    reconciler = _LostPods(context)
    return Controller(
        "pod-garbage-collector",
        PODS,
        reconciler.reconcile,
        watches={NODES: reconciler.pods_of_node},
        workers=1,
    )


class _LostPods:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._pods = context.informers.of(PODS)
        self._nodes = context.informers.of(NODES)

    def pods_of_node(self, node: Obj) -> list[Key]:
        """A node that stays has no lost pods."""
        if self._nodes.get("", name(node)) is not None:
            return []
        return [key_of(p) for p in self._pods.list() if p["spec"].get("nodeName") == name(node)]

    async def reconcile(self, key: Key) -> None:
        pod = self._pods.get(*key)
        if pod is None:
            return
        node = pod["spec"].get("nodeName")
        if node:
            lost = self._nodes.get("", node) is None and not await self._exists(node)
        else:
            lost = deletion_requested(pod)
        if lost:
            await self._client.delete(
                PODS,
                name(pod),
                namespace(pod),
                grace_period_seconds=0,
                uid=uid(pod),
                missing_ok=True,
            )

    async def _exists(self, node: str) -> bool:
        return await self._client.find(NODES, node) is not None
