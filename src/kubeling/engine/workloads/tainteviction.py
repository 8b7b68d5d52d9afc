"""Taints that end pods: ``NoExecute``, at once or when a pod's tolerance has run out.

As upstream's ``taint-eviction-controller``; and, as its node lifecycle controller, the taint that a
cordoned node has is kept here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, Final

from kubeling.component import Context
from kubeling.engine.taints import NO_EXECUTE, UNSCHEDULABLE, tolerating
from kubeling.engine.workloads.podstate import is_finished
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import NotFound
from kubeling.kube.objects import (
    Key,
    Obj,
    deletion_requested,
    format_time,
    name,
    namespace,
    parse_time,
    uid,
)
from kubeling.kube.resources import NODES, PODS

__all__ = ["controller", "cordon_taints", "seconds_to_live"]

_CORDON: Final = {"key": UNSCHEDULABLE, "effect": "NoSchedule"}


def controller(context: Context) -> Controller:
    """The controller of both."""
    reconciler = _Taints(context)
    return Controller(
        "taint-eviction-controller",
        NODES,
        reconciler.reconcile,
        watches={PODS: reconciler.tainted_node},
        workers=1,
    )


def cordon_taints(node: Obj, now: dt.datetime) -> list[Obj] | None:
    """The taints that the node should have, if they differ."""
    spec = node.get("spec") or {}
    taints: list[Obj] = spec.get("taints") or []
    has = [taint for taint in taints if (taint["key"], taint["effect"]) == _key(_CORDON)]
    if bool(has) == bool(spec.get("unschedulable")):
        return None
    if has:
        return [taint for taint in taints if taint not in has]
    return [*taints, {**_CORDON, "timeAdded": format_time(now)}]


def seconds_to_live(taints: Iterable[Any], tolerations: Sequence[Any]) -> float | None:
    """How long a pod may stay beside ``NoExecute`` taints; ``None`` for ever."""
    used: list[Any] = []
    for taint in taints:
        if taint["effect"] != NO_EXECUTE:
            continue
        found = tolerating(tolerations, taint)
        if not found:
            return 0.0
        used += found
    limits = [
        max(0.0, float(each["tolerationSeconds"]))
        for each in used
        if each.get("tolerationSeconds") is not None
    ]
    return min(limits, default=None)


class _Taints:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("taint-eviction-controller")
        self._nodes = context.informers.of(NODES)
        self._pods = context.informers.of(PODS)
        self._since: dict[str, dt.datetime] = {}

    def tainted_node(self, pod: Obj) -> list[Key]:
        """The pod's node, should a taint be there that ends pods."""
        node = self._nodes.get("", (pod.get("spec") or {}).get("nodeName") or "")
        return [Key("", name(node))] if node is not None and _ends_pods(node) else []

    async def reconcile(self, key: Key) -> Result | None:
        node = self._nodes.get("", key.name)
        if node is None:
            return None
        now = self._clock.now()
        if (taints := cordon_taints(node, now)) is not None:
            patch = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
                     "spec": {"taints": taints or None}}  # fmt: skip
            await self._client.patch(NODES, key.name, patch)
            return None
        pods = [p for p in self._pods.list() if p["spec"].get("nodeName") == key.name]
        taints = (node.get("spec") or {}).get("taints") or []
        waits = [wait for pod in pods if (wait := await self._look(pod, taints, now))]
        present = {uid(pod) for pod in pods}
        self._since = {known: at for known, at in self._since.items() if known in present}
        return Result(min(waits)) if waits else None

    async def _look(self, pod: Obj, taints: list[Obj], now: dt.datetime) -> float | None:
        """Ends a pod whose time is over; how long it still has."""
        if deletion_requested(pod) or is_finished(pod):
            return None
        ending = [taint for taint in taints if taint["effect"] == NO_EXECUTE]
        allowed = seconds_to_live(ending, pod["spec"].get("tolerations") or ())
        title = f"{namespace(pod)}/{name(pod)}"
        if not ending or allowed is None:
            if self._since.pop(uid(pod), None) is not None:
                message = f"Cancelling deletion of Pod {title}"
                await self._recorder.normal(pod, "TaintManagerEviction", message)
            return None
        left = allowed - (now - self._began(pod, ending, now)).total_seconds()
        if left > 0:
            return left
        message = f"Marking for deletion Pod {title}"
        await self._recorder.normal(pod, "TaintManagerEviction", message)
        await self._end(pod, now)
        return None

    def _began(self, pod: Obj, ending: list[Obj], now: dt.datetime) -> dt.datetime:
        """Since when the pod is only tolerated."""
        if uid(pod) not in self._since:
            added = [parse_time(t["timeAdded"]) for t in ending if t.get("timeAdded")]
            created = parse_time(pod["metadata"]["creationTimestamp"])
            self._since[uid(pod)] = max(created, min(added)) if added else now
        return self._since[uid(pod)]

    async def _end(self, pod: Obj, now: dt.datetime) -> None:
        entry = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": format_time(now),
        }
        body = {"metadata": {"uid": uid(pod)}, "status": {"conditions": [entry]}}
        try:
            await self._client.patch(
                PODS, name(pod), body, namespace(pod), type="strategic", subresource="status"
            )
            await self._client.delete(PODS, name(pod), namespace(pod), uid=uid(pod))
        except NotFound:
            return


def _ends_pods(node: Obj) -> bool:
    return any(t["effect"] == NO_EXECUTE for t in (node.get("spec") or {}).get("taints") or ())


def _key(taint: Any) -> tuple[str, str]:
    return taint["key"], taint["effect"]
