"""What to do next for a StatefulSet. Pure.

Pods have ordinals. With ``OrderedReady`` one thing happens at a time: a pod is made when all before
it are available, removed when all after it are gone; what is not as wanted stops what comes after
it. With ``Parallel`` nothing waits but updates, which go from the highest ordinal down to the
partition and leave no more than ``maxUnavailable`` pods out of service.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kubeling.engine.workloads.podstate import is_available, is_finished, is_ready, phase
from kubeling.engine.workloads.rollout import share
from kubeling.kube.objects import Obj, deletion_requested, generation, labels, name

__all__ = [
    "StatefulPlan",
    "ordinal_of",
    "ordinals",
    "plan",
    "pods_by_ordinal",
    "stateful_status",
]

_POD_REVISION: Final = "controller-revision-hash"


@dataclass(slots=True)
class StatefulPlan:
    """Pods to create, as ordinal to revision name, pods to delete, and pods that lack claims."""

    create: dict[int, str] = field(default_factory=dict)
    delete: list[Obj] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    """The ordinals of pods that wait to run: a claim of theirs may have been lost."""


def ordinal_of(set_name: str, pod_name: str) -> int | None:
    """The number at the end of the pod's name, if it is one of the set's names."""
    head, _, tail = pod_name.rpartition("-")
    return int(tail) if head == set_name and tail.isdigit() else None


def ordinals(owner: Obj) -> range:
    """The ordinals there should be pods of."""
    first = int((owner["spec"].get("ordinals") or {}).get("start") or 0)
    return range(first, first + int(owner["spec"].get("replicas", 1)))


def plan(
    owner: Obj, pods: Mapping[int, Obj], current: str, update: str, now: dt.datetime
) -> StatefulPlan:
    """What to do now; ``pods`` by ordinal, the revisions by name."""
    todo = StatefulPlan()
    if (
        _fill(owner, pods, current, update, now, todo)
        and _condense(owner, pods, now, todo)
        and _strategy(owner).get("type") != "OnDelete"
    ):
        _update(owner, pods, update, now, todo)
    return todo


def stateful_status(
    owner: Obj, pods: Mapping[int, Obj], current: str, update: str, now: dt.datetime
) -> Obj:
    """The status; a finished rolling update makes the update revision the current one."""
    min_ready = int(owner["spec"].get("minReadySeconds") or 0)
    alive = [pod for pod in pods.values() if not deletion_requested(pod)]
    updated = sum(_revision(pod) == update for pod in alive)
    holders = sum(_revision(pod) == current for pod in alive)
    ready = sum(map(is_ready, pods.values()))
    finished = (
        _strategy(owner).get("type", "RollingUpdate") == "RollingUpdate"
        and updated == ready == len(pods) == len(ordinals(owner))
    )  # fmt: skip
    status: Obj = {
        "observedGeneration": generation(owner),
        "replicas": len(pods),
        "availableReplicas": sum(is_available(pod, min_ready, now) for pod in pods.values()),
        "currentRevision": update if finished else current,
        "updateRevision": update,
        "collisionCount": 0,
    }
    counts = {
        "readyReplicas": ready,
        "currentReplicas": updated if finished else holders,
        "updatedReplicas": updated,
    }
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
    for ordinal in ordinals(owner):
        pod = pods.get(ordinal)
        if pod is None:
            todo.create[ordinal] = current if _keeps_current(owner, ordinal) else update
        elif is_finished(pod):
            if not deletion_requested(pod):
                todo.delete.append(pod)
        else:
            if phase(pod) == "Pending":
                todo.waiting.append(ordinal)
            if _healthy(owner, pod, now):
                continue
        if _ordered(owner):
            return False
    return True


def _condense(owner: Obj, pods: Mapping[int, Obj], now: dt.datetime, todo: StatefulPlan) -> bool:
    """Removes what is too many, the highest first; returns whether the plan may go on.

    In order, a pod that is not healthy goes only when it is the lowest of those: what comes before
    it may be what it waits for.
    """
    wanted = ordinals(owner)
    condemned = sorted((ordinal for ordinal in pods if ordinal not in wanted), reverse=True)
    ill = [ordinal for ordinal in condemned if not _healthy(owner, pods[ordinal], now)]
    for ordinal in condemned:
        pod = pods[ordinal]
        if not _ordered(owner):
            if not deletion_requested(pod):
                todo.delete.append(pod)
            continue
        if not deletion_requested(pod) and (ordinal not in ill or ordinal == min(ill)):
            todo.delete.append(pod)
        return False
    return True


def _update(
    owner: Obj, pods: Mapping[int, Obj], update: str, now: dt.datetime, todo: StatefulPlan
) -> None:
    wanted = ordinals(owner)
    rolling = _strategy(owner).get("rollingUpdate") or {}
    most = max(1, int(share(rolling.get("maxUnavailable") or 1, len(wanted))))
    here = [pod for ordinal in wanted if (pod := pods.get(ordinal)) is not None]
    absent = len(wanted) - sum(_healthy(owner, pod, now) for pod in here)
    old = [
        pods[ordinal]
        for ordinal in reversed(wanted)
        if ordinal in pods
        and not _keeps_current(owner, ordinal)
        and _revision(pods[ordinal]) != update
        and not deletion_requested(pods[ordinal])
    ]
    todo.delete += [pod for pod in old[: max(0, most - absent)] if pod not in todo.delete]


def _keeps_current(owner: Obj, ordinal: int) -> bool:
    """Whether the ordinal is below the partition, where the update does not go."""
    rolling = _strategy(owner).get("rollingUpdate") or {}
    return ordinal < int(rolling.get("partition") or 0) + ordinals(owner).start


def _strategy(owner: Obj) -> Obj:
    return owner["spec"].get("updateStrategy") or {}


def _ordered(owner: Obj) -> bool:
    return bool(owner["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady")


def _revision(pod: Obj) -> str:
    return labels(pod).get(_POD_REVISION, "")


def _healthy(owner: Obj, pod: Obj, now: dt.datetime) -> bool:
    min_ready = int(owner["spec"].get("minReadySeconds") or 0)
    return not deletion_requested(pod) and is_available(pod, min_ready, now)


def pods_by_ordinal(owner: Obj, pods: list[Obj]) -> dict[int, Obj]:
    """The set's pods by their numbers."""
    found = {ordinal_of(name(owner), name(pod)): pod for pod in pods}
    return {ordinal: pod for ordinal, pod in found.items() if ordinal is not None}
