"""Pods that start together or not at all, by the contract of scheduler-plugins' coscheduling.

A pod that carries the label belongs to the PodGroup of that name in its namespace; none of them
starts before as many as the group asks for are there and fit all at once. A pod that has run
counts as one that does, so a later replacement waits for nobody. Nothing is taken while a group
waits, so ``scheduleTimeoutSeconds`` has nothing to give back, and no group preempts others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from kubeling.engine.podspec import is_finished, spec
from kubeling.engine.scheduler import POD_GROUP, Ledger
from kubeling.kube.crd import Column, IntOrString, crd
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, deletion_requested, labels, name, namespace, uid
from kubeling.kube.resources import PODS, Resource

__all__ = [
    "GANG_SCHEDULER",
    "POD_GROUPS",
    "Gangs",
    "gathered",
    "group_of",
    "minimum_of",
    "pod_group_definition",
]

GANG_SCHEDULER: Final = "scheduler-plugins-scheduler"
"""The name under which a cluster runs the scheduler that heeds PodGroups; here it is the node's."""

POD_GROUPS: Final = Resource(
    "scheduling.x-k8s.io", "v1alpha1", "PodGroup", "podgroups", True, ("pg", "pgs")
)
_INDEX: Final = "pod-group"


class PodGroupSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """How many pods start together, and what has to be free for that."""

    min_member: int = 0
    min_resources: dict[str, IntOrString] | None = None
    schedule_timeout_seconds: int | None = None


def pod_group_definition() -> Obj:
    """The kind, as kubernetes-sigs/scheduler-plugins defines it."""
    columns = [Column("MinMember", ".spec.minMember", "integer")]
    return crd(POD_GROUPS, PodGroupSpec, columns=columns, spec_required=False)


def group_of(pod: Obj) -> str:
    """The name of the pod's group, if it has one."""
    return labels(pod).get(POD_GROUP, "")


def minimum_of(group: Obj) -> int:
    """How many pods the group starts with."""
    return int((group.get("spec") or {}).get("minMember") or 0)


def gathered(
    pod: Obj,
    group: Obj,
    started: int,
    waiting: Sequence[Obj],
    trial: Ledger,
    refused: Callable[[Obj, Ledger], str],
) -> list[Obj] | str:
    """The pods that start now, this one among them, or why it cannot. Pure, but for the trial.

    ``started`` of the group's pods have started, ``waiting`` are the others beside this one.
    ``refused`` says why a pod does not fit into a ledger; ``trial`` is a copy that is used up.
    """
    title, wanted = name(group), minimum_of(group)
    there = started + len(waiting) + 1
    if there < wanted:
        return f'pod group "{title}" starts with {wanted} pods and has {there}'
    if not started and (missing := trial.missing(_whole(group))):
        lacking = ", ".join(f"Insufficient {resource}" for resource in missing)
        return f'pod group "{title}" starts when its minResources are free: {lacking}'
    starting, why = [], ""
    for member in (pod, *waiting):
        if reason := refused(member, trial):
            why = why or reason
        else:
            trial.hold(member)
            starting.append(member)
    if started + len(starting) < wanted:
        fit = started + len(starting)
        return f'pod group "{title}" starts with {wanted} pods together, and {fit} fit: {why}'
    return starting if starting[:1] == [pod] else why


def _whole(group: Obj) -> Obj:
    """A pod that stands for all that has to be free before the group starts."""
    amounts = (group.get("spec") or {}).get("minResources") or {}
    containers = [{"name": "all", "resources": {"requests": amounts}}]
    metadata = {"name": name(group), "uid": f"group {uid(group)}"}
    return {"metadata": metadata, "spec": {"containers": containers}}


class Gangs:
    """The groups there are, and the pods in each."""

    def __init__(self, informers: Informers) -> None:
        self._pods = informers.of(PODS)
        self._pods.add_index(_INDEX, _group_key)
        self._groups = informers.of(POD_GROUPS)

    def group(self, pod: Obj) -> Obj | None:
        """The pod's group, once it is there."""
        return self._groups.get(namespace(pod), group_of(pod))

    def others(self, pod: Obj) -> tuple[Sequence[Obj], Sequence[Obj]]:
        """The pods of its group beside this one: those that have started, and those that wait."""
        members = self._pods.by_index(_INDEX, f"{namespace(pod)}/{group_of(pod)}")
        members = [m for m in members if uid(m) != uid(pod) and not deletion_requested(m)]
        started = [m for m in members if is_finished(m) or spec(m).get("nodeName")]
        done = set(map(uid, started))
        return started, [m for m in members if uid(m) not in done]


def _group_key(pod: Obj) -> Iterable[str]:
    return (f"{namespace(pod)}/{group_of(pod)}",) if group_of(pod) else ()
