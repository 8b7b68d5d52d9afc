"""DaemonSets: one pod on every node the template may run on."""

from __future__ import annotations

from collections.abc import Iterable

from kubeling.component import Context
from kubeling.engine.workloads.ownership import claim
from kubeling.engine.workloads.podcontrol import PodControl
from kubeling.engine.workloads.podstate import (
    generated_name,
    is_available,
    is_finished,
    is_ready,
    pod_from_template,
)
from kubeling.engine.workloads.revisions import HASH_LABEL, Revisions
from kubeling.engine.workloads.rollout import share
from kubeling.engine.workloads.writing import write_status
from kubeling.kube import selectors
from kubeling.kube.controller import Controller
from kubeling.kube.objects import (
    Key,
    Obj,
    deletion_requested,
    generation,
    key_of,
    labels,
    name,
    uid,
)
from kubeling.kube.resources import DAEMON_SETS, NODES, PODS

__all__ = ["controller", "daemon_pod", "node_of", "outdated"]


def controller(context: Context) -> Controller:
    """The DaemonSet controller."""
    reconciler = _DaemonSets(context)
    return Controller(
        "daemonset-controller",
        DAEMON_SETS,
        reconciler.reconcile,
        owns=(PODS,),
        watches={NODES: reconciler.every_set},
    )


def daemon_pod(owner: Obj, node: str, revision: str) -> Obj:
    """The pod for a node, bound to it by affinity as upstream does."""
    template = owner["spec"]["template"]
    marks = {HASH_LABEL: revision, "pod-template-generation": str(generation(owner))}
    pod = pod_from_template(template, owner, generated_name(f"{name(owner)}-"), labels=marks)
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity = pod["spec"].setdefault("affinity", {}).setdefault("nodeAffinity", {})
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [term]}
    return pod


def node_of(pod: Obj) -> str:
    """The node a daemon's pod is for."""
    spec = pod["spec"]
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            return str(field["values"][0])
    return ""


def outdated(owner: Obj, pods: Iterable[Obj], revision: str, unavailable: int) -> list[Obj]:
    """The pods of older templates that may be replaced now, broken ones first."""
    strategy = owner["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    old = [pod for pod in pods if labels(pod).get(HASH_LABEL) != revision]
    broken = [pod for pod in old if not is_ready(pod)]
    working = [pod for pod in old if is_ready(pod)]
    return [*broken, *working[: max(0, unavailable - len(broken))]]


class _DaemonSets:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._sets = context.informers.of(DAEMON_SETS)
        self._pods = context.informers.of(PODS)
        self._nodes = context.informers.of(NODES)
        self._revisions = Revisions(context)
        self._control = PodControl(context, "daemonset-controller")

    def every_set(self, _: Obj) -> list[Key]:
        """A node came, went or was relabelled."""
        return [key_of(found) for found in self._sets.list()]

    async def reconcile(self, key: Key) -> None:
        owner = self._sets.get(*key)
        if owner is None or deletion_requested(owner):
            return
        selector = selectors.from_object(owner["spec"]["selector"])
        await claim(self._client, self._pods, owner, selector)
        revision = await self._revisions.newest(owner)
        nodes = {name(node) for node in self._nodes.list() if _runs_on(owner, node)}
        await self._place(owner, nodes, labels(revision)[HASH_LABEL])
        pods = self._pods.owned_by(uid(owner))
        status = self._status(owner, nodes, pods, labels(revision)[HASH_LABEL])
        await write_status(self._client, DAEMON_SETS, owner, status)
        await self._revisions.forget(owner, [name(revision)])

    async def _place(self, owner: Obj, nodes: set[str], revision: str) -> None:
        pods = self._pods.owned_by(uid(owner))
        placed = {node_of(pod) for pod in pods}
        going = [
            pod
            for pod in pods
            if not deletion_requested(pod) and (node_of(pod) not in nodes or is_finished(pod))
        ]
        staying = [p for p in pods if p not in going and not deletion_requested(p)]
        rolling = (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
        most = max(1, round(share(rolling.get("maxUnavailable", 1), len(nodes))))
        absent = len(nodes) - sum(map(is_ready, staying))
        going += outdated(owner, staying, revision, most - absent)
        await self._control.delete_all(owner, going)
        fresh = [daemon_pod(owner, node, revision) for node in sorted(nodes - placed)]
        await self._control.create_all(owner, fresh)

    def _status(self, owner: Obj, nodes: set[str], pods: list[Obj], revision: str) -> Obj:
        min_ready = int(owner["spec"].get("minReadySeconds") or 0)
        now = self._clock.now()
        alive = [pod for pod in pods if not deletion_requested(pod)]
        here = [pod for pod in alive if node_of(pod) in nodes]
        available = sum(is_available(pod, min_ready, now) for pod in here)
        status: Obj = {
            "currentNumberScheduled": len({node_of(pod) for pod in here}),
            "numberMisscheduled": len(alive) - len(here),
            "desiredNumberScheduled": len(nodes),
            "numberReady": sum(map(is_ready, here)),
            "observedGeneration": generation(owner),
        }
        counts = {
            "updatedNumberScheduled": sum(labels(p).get(HASH_LABEL) == revision for p in here),
            "numberAvailable": available,
            "numberUnavailable": len(nodes) - available,
        }
        return status | {field: count for field, count in counts.items() if count}


def _runs_on(owner: Obj, node: Obj) -> bool:
    selector = owner["spec"]["template"]["spec"].get("nodeSelector") or {}
    return bool(selector.items() <= labels(node).items())
