"""Pods that nobody else ends or removes.

They are bound to a node that is gone, or go without having had a node, or ended when many had.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from kubeling.component import Context
from kubeling.engine.workloads.podstate import is_finished
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import (
    Key,
    Obj,
    condition,
    deep_copy,
    deletion_requested,
    format_time,
    key_of,
    name,
    namespace,
    parse_time,
    set_condition,
    uid,
)
from kubeling.kube.resources import NODES, PODS

__all__ = ["controller", "disrupted_for"]


_MOST_ENDED: Final = 12_500
_DISRUPTED: Final = "DisruptionTarget"
_DISRUPTION_SECONDS: Final = 120.0
_LOST: Final = {
    "type": _DISRUPTED,
    "status": "True",
    "reason": "DeletionByPodGC",
    "message": "PodGC: node no longer exists",
}


def controller(context: Context, most: int = _MOST_ENDED) -> Controller:
    """The collector of such pods, and of those that have ended beyond ``most``."""
    reconciler = _LostPods(context, most)
    return Controller(
        "pod-garbage-collector",
        PODS,
        reconciler.reconcile,
        watches={NODES: reconciler.pods_of_node},
        workers=1,
    )


class _LostPods:
    def __init__(self, context: Context, most: int) -> None:
        self._client = context.client
        self._clock = context.clock
        self._most = most
        self._ended: dict[Key, tuple[bool, str, str]] = {}
        self._pods = context.informers.of(PODS)
        self._nodes = context.informers.of(NODES)

    def pods_of_node(self, node: Obj) -> list[Key]:
        """A node that stays has no lost pods."""
        if self._nodes.get("", name(node)) is not None:
            return []
        return [key_of(p) for p in self._pods.list() if p["spec"].get("nodeName") == name(node)]

    async def reconcile(self, key: Key) -> Result | None:
        pod = self._pods.get(*key)
        if pod is None:
            self._ended.pop(key, None)
            return None
        node = pod["spec"].get("nodeName")
        if node:
            if self._nodes.get("", node) is None and not await self._exists(node):
                await self._remove(pod, _LOST)
                return None
        elif deletion_requested(pod):
            await self._remove(pod)
            return None
        if deletion_requested(pod):
            return None
        if is_finished(pod):
            self._ended[key] = _age(pod)
            await self._tidy()
            return None
        return await self._take_back(pod)

    async def _take_back(self, pod: Obj) -> Result | None:
        """A pod that was to be disrupted, but was not, is to be disrupted no more."""
        left = disrupted_for(pod, self._clock.now())
        if left is None:
            return None
        if left > 0:
            return Result(left)
        status: Obj = deep_copy(pod["status"])
        set_condition(status, _DISRUPTED, False, reason="", message="", now=self._clock.now())
        await self._client.replace_status(PODS, {**pod, "status": status})
        return None

    async def _tidy(self) -> None:
        """Of pods that have ended the oldest go when there are too many, evicted ones first."""
        excess = len(self._ended) - self._most
        for key in sorted(self._ended, key=self._ended.__getitem__)[:excess] if excess > 0 else ():
            self._ended.pop(key, None)
            if (pod := self._pods.get(*key)) is not None:
                await self._remove(pod)

    async def _remove(self, pod: Obj, why: Obj | None = None) -> None:
        if not is_finished(pod):
            status: Obj = deep_copy(pod.get("status") or {})
            status["phase"] = "Failed"
            if why:
                now = format_time(self._clock.now())
                others = [c for c in status.get("conditions") or () if c["type"] != why["type"]]
                told = {**why, "lastProbeTime": None, "lastTransitionTime": now}
                status["conditions"] = [*others, told]
            try:
                await self._client.replace_status(PODS, {**pod, "status": status})
            except NotFound:
                return
        await self._client.delete(
            PODS, name(pod), namespace(pod), grace_period_seconds=0, uid=uid(pod), missing_ok=True
        )

    async def _exists(self, node: str) -> bool:
        return await self._client.find(NODES, node) is not None


def disrupted_for(pod: Obj, now: dt.datetime) -> float | None:
    """How long yet a living pod may be about to be disrupted; ``None`` if it is not.

    The kubelet's own word has no end: it may take its time.
    """
    said = condition(pod, _DISRUPTED)
    if said is None or said.status != "True" or said.reason == "TerminationByKubelet":
        return None
    since = next(
        entry.get("lastTransitionTime")
        for entry in pod["status"]["conditions"]
        if entry["type"] == _DISRUPTED
    )
    if not since:
        return 0.0
    return max(0.0, _DISRUPTION_SECONDS - (now - parse_time(since)).total_seconds())


def _age(pod: Obj) -> tuple[bool, str, str]:
    evicted = (pod.get("status") or {}).get("reason") == "Evicted"
    return not evicted, pod["metadata"]["creationTimestamp"], name(pod)
