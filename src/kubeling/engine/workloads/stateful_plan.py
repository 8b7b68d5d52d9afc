"""What to do next for a StatefulSet. Pure.

Pods have ordinals. With ``OrderedReady`` one thing happens at a time: a pod is made when all before
it are available, removed when all after it are gone. Updates go from the highest ordinal down to
the partition, waiting for each.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from kubeling.engine.workloads.podstate import is_available, is_finished, is_ready
from kubeling.kube.objects import Obj, deletion_requested, generation, labels, name

__all__ = ["StatefulPlan", "ordinal_of", "plan", "pods_by_ordinal", "stateful_status"]

_POD_REVISION = "controller-revision-hash"


@dataclass(slots=True)
class StatefulPlan:
    """Pods to create, as ordinal to revision name, and pods to delete."""

    create: dict[int, str] = field(default_factory=dict)
    delete: list[Obj] = field(default_factory=list)


def ordinal_of(set_name: str, pod_name: str) -> int | None:
    """The number at the end of the pod's name, if it is one of the set's names."""
    head, _, tail = pod_name.rpartition("-")
    return int(tail) if head == set_name and tail.isdigit() else None


def plan(
    owner: Obj, pods: Mapping[int, Obj], current: str, update: str, now: dt.datetime
) -> StatefulPlan:
    """What to do now; ``pods`` by ordinal, the revisions by name."""
    todo = StatefulPlan()
    if not _fill(owner, pods, current, update, now, todo):
        return todo
    if not _condense(owner, pods, now, todo):
        return todo
    _update(owner, pods, update, now, todo)
    return todo


def stateful_status(
    owner: Obj, pods: Mapping[int, Obj], current: str, update: str, now: dt.datetime
) -> Obj:
    """The status; a finished update makes the update revision the current one."""
    min_ready = int(owner["spec"].get("minReadySeconds") or 0)
    alive = [pod for pod in pods.values() if not deletion_requested(pod)]
    updated = sum(labels(pod).get(_POD_REVISION) == update for pod in alive)
    ready = sum(map(is_ready, alive))
    wanted = int(owner["spec"].get("replicas", 1))
    finished = updated == len(pods) == wanted and ready == wanted
    status: Obj = {
        "observedGeneration": generation(owner),
        "replicas": len(pods),
        "availableReplicas": sum(is_available(pod, min_ready, now) for pod in alive),
        "currentRevision": update if finished else current,
        "updateRevision": update,
        "collisionCount": 0,
    }
    holders = sum(labels(pod).get(_POD_REVISION) == status["currentRevision"] for pod in alive)
    counts = {"readyReplicas": ready, "currentReplicas": holders, "updatedReplicas": updated}
    return status | {name_: count for name_, count in counts.items() if count}


def _fill(
    owner: Obj,
    pods: Mapping[int, Obj],
    current: str,
    update: str,
    now: dt.datetime,
    todo: StatefulPlan,
) -> bool:
    """Makes what is missing; returns whether the plan may go on."""
    for ordinal in _ordinals(owner):
        pod = pods.get(ordinal)
        if pod is None:
            todo.create[ordinal] = current if _keeps_current(owner, ordinal) else update
        elif is_finished(pod) and not deletion_requested(pod):
            todo.delete.append(pod)
        elif _healthy(owner, pod, now):
            continue
        if _ordered(owner):
            return False
    return True


def _condense(owner: Obj, pods: Mapping[int, Obj], now: dt.datetime, todo: StatefulPlan) -> bool:
    """Removes what is too many, the highest first; returns whether the plan may go on."""
    wanted = set(_ordinals(owner))
    condemned = sorted((n for n in pods if n not in wanted), reverse=True)
    for ordinal in condemned:
        if not deletion_requested(pods[ordinal]):
            todo.delete.append(pods[ordinal])
        if _ordered(owner):
            return False
    return True


def _update(
    owner: Obj, pods: Mapping[int, Obj], update: str, now: dt.datetime, todo: StatefulPlan
) -> None:
    strategy = owner["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete" or todo.create or todo.delete:
        return
    for ordinal in sorted(_ordinals(owner), reverse=True):
        pod = pods.get(ordinal)
        if pod is None or _keeps_current(owner, ordinal):
            return
        if labels(pod).get(_POD_REVISION) != update:
            if not deletion_requested(pod):
                todo.delete.append(pod)
            return
        if not _healthy(owner, pod, now):
            return


def _ordinals(owner: Obj) -> range:
    first = int((owner["spec"].get("ordinals") or {}).get("start") or 0)
    return range(first, first + int(owner["spec"].get("replicas", 1)))


def _keeps_current(owner: Obj, ordinal: int) -> bool:
    """Whether the ordinal is below the partition, where the update does not go."""
    rolling = (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return ordinal < int(rolling.get("partition") or 0) + _ordinals(owner).start


def _ordered(owner: Obj) -> bool:
    return bool(owner["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady")


def _healthy(owner: Obj, pod: Obj, now: dt.datetime) -> bool:
    min_ready = int(owner["spec"].get("minReadySeconds") or 0)
    return not deletion_requested(pod) and is_available(pod, min_ready, now)


def pods_by_ordinal(owner: Obj, pods: list[Obj]) -> dict[int, Obj]:
    """The set's pods by their numbers."""
    found = {ordinal_of(name(owner), name(pod)): pod for pod in pods}
    return {ordinal: pod for ordinal, pod in found.items() if ordinal is not None}
