"""What a DaemonSet does on its nodes. Pure.

Each node that the template may run on gets one pod; with ``maxSurge`` a second one while it is
replaced. Where a node's taints keep new pods away, those that are there stay until one evicts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final, NamedTuple

from kubeling.engine.scheduler import selects
from kubeling.engine.taints import NO_EXECUTE, REPELLING, untolerated
from kubeling.engine.workloads.podstate import (
    generated_name,
    is_available,
    is_finished,
    is_ready,
    phase,
    pod_from_template,
)
from kubeling.engine.workloads.revisions import HASH_LABEL
from kubeling.engine.workloads.rollout import share
from kubeling.kube.objects import (
    Obj,
    deletion_requested,
    generation,
    labels,
    name,
    namespace,
)

__all__ = [
    "DaemonPlan",
    "Place",
    "daemon_pod",
    "daemon_status",
    "node_of",
    "places_of",
    "tend",
    "told",
    "update",
]

_NODE: Final = "node.kubernetes.io/"
_LASTING: Final = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)


class Place(NamedTuple):
    """A node, whether the set's pods may start and may stay there, and those that are there."""

    node: str
    may_start: bool
    may_stay: bool
    pods: Sequence[Obj] = ()

    @property
    def living(self) -> list[Obj]:
        return [pod for pod in self.pods if not deletion_requested(pod)]


@dataclass(slots=True)
class DaemonPlan:
    """The nodes to make pods for, the pods to delete, and those of them that have ended."""

    create: list[str] = field(default_factory=list)
    delete: list[Obj] = field(default_factory=list)
    ended: list[Obj] = field(default_factory=list)


def daemon_pod(owner: Obj, node: str, revision: str) -> Obj:
    """The pod for a node, bound to it by affinity and patient with its troubles, as upstream's."""
    template = owner["spec"]["template"]
    marks = {HASH_LABEL: revision, "pod-template-generation": str(generation(owner))}
    pod = pod_from_template(template, owner, generated_name(f"{name(owner)}-"), labels=marks)
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity = pod["spec"].setdefault("affinity", {}).setdefault("nodeAffinity", {})
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [term]}
    pod["spec"]["tolerations"] = _tolerations(pod["spec"])
    return pod


def node_of(pod: Obj) -> str:
    """The node a daemon's pod is for."""
    spec = pod["spec"]
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field_ in term.get("matchFields") or ():
            return str(field_["values"][0])
    return ""


def places_of(owner: Obj, nodes: Iterable[Obj], pods: Iterable[Obj]) -> list[Place]:
    """All nodes, and what is the set's on them, the oldest first.

    Pods that have ended and are on their way out count no more; those of lost nodes have a place
    where nothing may be.
    """
    there: dict[str, list[Obj]] = {}
    for pod in sorted(pods, key=_age):
        if not (deletion_requested(pod) and is_finished(pod)):
            there.setdefault(node_of(pod), []).append(pod)
    places = [
        Place(name(node), *_may_run(owner, node), there.pop(name(node), ()))
        for node in sorted(nodes, key=name)
    ]
    return [*places, *(Place(node, False, False, found) for node, found in there.items())]


def tend(owner: Obj, places: Iterable[Place], revision: str, now: dt.datetime) -> DaemonPlan:
    """Fills empty places, removes what has ended, what is too many and what must not be there."""
    todo = DaemonPlan()
    for place in places:
        if not place.may_stay:
            todo.delete += place.living
            continue
        todo.ended += filter(is_finished, place.living)
        running = [pod for pod in place.living if not is_finished(pod)]
        if _surges(owner):
            if place.may_start and not running:
                todo.create.append(place.node)
            todo.delete += _superfluous(owner, running, revision, now)
        else:
            if place.may_start and not place.pods:
                todo.create.append(place.node)
            todo.delete += running[1:]
    return todo


def update(owner: Obj, places: Sequence[Place], revision: str, now: dt.datetime) -> DaemonPlan:
    """Goes on with a rolling update."""
    todo = DaemonPlan()
    if _strategy(owner).get("type") == "OnDelete":
        return todo
    wanted = sum(place.may_start for place in places)
    surge, most = _count(owner, "maxSurge", 0, wanted), _count(owner, "maxUnavailable", 1, wanted)
    held = [place for place in places if place.may_start or place.pods]
    if surge:
        _surge(owner, held, revision, now, surge, wanted, todo)
    else:
        _replace(owner, held, revision, now, max(1, most), todo)
    return todo


def daemon_status(owner: Obj, places: Iterable[Place], revision: str, now: dt.datetime) -> Obj:
    """The status; of several pods on a node the oldest counts."""
    wanted = [place for place in places if place.may_start]
    firsts = [place.pods[0] for place in wanted if place.pods]
    available = sum(_available(owner, pod, now) for pod in firsts)
    status: Obj = {
        "currentNumberScheduled": len(firsts),
        "numberMisscheduled": sum(bool(p.pods) and not p.may_start for p in places),
        "desiredNumberScheduled": len(wanted),
        "numberReady": sum(map(is_ready, firsts)),
        "observedGeneration": generation(owner),
    }
    counts = {
        "updatedNumberScheduled": sum(_is_new(pod, revision) for pod in firsts),
        "numberAvailable": available,
        "numberUnavailable": len(wanted) - available,
    }
    return status | {field_: count for field_, count in counts.items() if count}


def _replace(
    owner: Obj,
    places: Sequence[Place],
    revision: str,
    now: dt.datetime,
    most: int,
    todo: DaemonPlan,
) -> None:
    """Deletes old pods, as many as may be away at once; those that do not work anyway all go."""
    absent, candidates = 0, []
    for place in places:
        new, old = _sides(place, revision)
        if len(new) + len(old) != 1:
            # Empty, or with too many: tending it comes first.
            absent += 1
        elif new:
            absent += not _available(owner, new[0], now)
        elif _available(owner, old[0], now):
            candidates += old
        else:
            absent += 1
            todo.delete += old
    todo.delete += candidates[: max(0, most - absent)]


def _surge(
    owner: Obj,
    places: Sequence[Place],
    revision: str,
    now: dt.datetime,
    most: int,
    wanted: int,
    todo: DaemonPlan,
) -> None:
    """Makes new pods beside old ones, and deletes the old when the new work."""
    surging, available = 0, 0
    candidates: list[str] = []
    leaving: list[Obj] = []
    for place in places:
        new, old = _sides(place, revision)
        if len(new) > 1 or len(old) > 1:
            surging += 1
            continue
        first = (*old, *new)[:1]
        available += any(_available(owner, pod, now) for pod in first)
        if not old:
            continue
        works = _available(owner, old[0], now)
        if new and _available(owner, new[0], now):
            todo.delete += old
        elif new:
            surging += 1
        elif not place.may_start:
            (leaving if works else todo.delete).append(old[0])
        elif works:
            candidates.append(place.node)
        else:
            todo.create.append(place.node)
    # Where the set moves to other nodes, it leaves one when there is enough on the others.
    todo.delete += leaving[: max(0, available - wanted)]
    todo.create += candidates[: max(0, most - surging)]


def _superfluous(
    owner: Obj, running: Sequence[Obj], revision: str, now: dt.datetime
) -> Iterator[Obj]:
    """Of surging pods all but an old one that works and a new one that does not yet."""
    new = [pod for pod in running if _is_new(pod, revision)]
    old = [pod for pod in running if not _is_new(pod, revision)]
    yield from (*new[1:], *old[1:])
    if new and old and (not is_ready(old[0]) or _available(owner, new[0], now)):
        yield old[0]


def _sides(place: Place, revision: str) -> tuple[list[Obj], list[Obj]]:
    new = [pod for pod in place.living if _is_new(pod, revision)]
    return new, [pod for pod in place.living if not _is_new(pod, revision)]


def _may_run(owner: Obj, node: Obj) -> tuple[bool, bool]:
    template = owner["spec"]["template"]
    spec = template.get("spec") or {}
    if spec.get("nodeName") not in (None, "", name(node)) or not selects(template, node):
        return False, False
    taints, tolerations = (node.get("spec") or {}).get("taints") or (), _tolerations(spec)
    if not any(untolerated(taints, tolerations, REPELLING)):
        return True, True
    return False, not any(untolerated(taints, tolerations, (NO_EXECUTE,)))


def _tolerations(spec: Obj) -> list[Obj]:
    """A daemon's tolerations: of whatever the kubelet finds wrong with its node, for ever."""
    lasting = [
        *_LASTING,
        *((("network-unavailable", "NoSchedule"),) if spec.get("hostNetwork") else ()),
    ]
    added = [
        {"key": f"{_NODE}{key}", "operator": "Exists", "effect": effect} for key, effect in lasting
    ]
    given = [
        each for each in spec.get("tolerations") or () if not any(_same(each, a) for a in added)
    ]
    return [*given, *added]


def _same(one: Obj, other: Obj) -> bool:
    return all(one.get(field_) == other[field_] for field_ in ("key", "operator", "effect"))


def _strategy(owner: Obj) -> Obj:
    return owner["spec"].get("updateStrategy") or {}


def _count(owner: Obj, field_: str, absent: Any, nodes: int) -> int:
    rolling = _strategy(owner).get("rollingUpdate") or {}
    return ceil(share(rolling.get(field_, absent), nodes))


def _surges(owner: Obj) -> bool:
    return _count(owner, "maxSurge", 0, 100) > 0 and _strategy(owner).get("type") != "OnDelete"


def _is_new(pod: Obj, revision: str) -> bool:
    return labels(pod).get(HASH_LABEL) == revision


def _available(owner: Obj, pod: Obj, now: dt.datetime) -> bool:
    return is_available(pod, int(owner["spec"].get("minReadySeconds") or 0), now)


def _age(pod: Obj) -> tuple[bool, str, str]:
    return (
        not pod["spec"].get("nodeName"),
        pod["metadata"].get("creationTimestamp") or "",
        name(pod),
    )


def told(pod: Obj) -> tuple[str, str, str]:
    """Type, reason and message of the event about a pod that has ended."""
    where = f"daemon pod {namespace(pod)}/{name(pod)} on node {node_of(pod)}"
    if phase(pod) == "Failed":
        return "Warning", "FailedDaemonPod", f"Found failed {where}, will try to kill it"
    return "Normal", "SucceededDaemonPod", f"Found succeeded {where}, will try to delete it"
