"""A training job's replicas as its pods tell: who runs, and what the others wait for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubeling.gateway.states import state_of
from kubeling.kube.objects import Obj, deletion_requested, name

__all__ = ["Replica", "belongs_to", "counted", "percent_of", "replicas_of", "waits_for"]

_JOB: Final = ("training.kubeflow.org/job-name", "jobset.sigs.k8s.io/jobset-name")
_ROLE: Final = ("training.kubeflow.org/replica-type", "jobset.sigs.k8s.io/replicatedjob-name")
_INDEX: Final = (
    "training.kubeflow.org/replica-index",
    "batch.kubernetes.io/job-completion-index",
)
_FIRST: Final = ("chief", "master", "launcher", "trainer", "node", "worker")
"""Roles in the order in which people look at them; others follow."""
_STARTING: Final = ("ContainerCreating", "PodInitializing")


@dataclass(frozen=True, slots=True)
class Replica:
    """A pod and its part in the job."""

    role: str
    index: int
    pod: Obj
    restarts: int
    waits: str

    @property
    def title(self) -> str:
        return f"{self.role} {self.index}" if self.role else name(self.pod)

    @property
    def state(self) -> str:
        return state_of(self.pod)


def belongs_to(pod: Obj, job: Obj) -> bool:
    """Whether a pod is labelled as one of the job's."""
    labels = pod["metadata"].get("labels") or {}
    own = job["metadata"]
    return pod["metadata"].get("namespace") == own.get("namespace") and own["name"] in (
        labels.get(key) for key in _JOB
    )


def replicas_of(pods: Iterable[Obj]) -> list[Replica]:
    """The replicas, those that are looked at first in front."""
    found = [_replica(pod) for pod in pods]
    found.sort(key=lambda r: (_rank(r.role), r.role, r.index, name(r.pod)))
    return found


def _rank(role: str) -> int:
    return _FIRST.index(role) if role in _FIRST else len(_FIRST)


def _replica(pod: Obj) -> Replica:
    labels = pod["metadata"].get("labels") or {}
    role = next((str(labels[key]) for key in _ROLE if key in labels), "")
    index = next((str(labels[key]) for key in _INDEX if key in labels), "0")
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return Replica(
        role,
        int(index) if index.isdecimal() else 0,
        pod,
        sum(int(status.get("restartCount") or 0) for status in statuses),
        _pod_waits(pod),
    )


def _pod_waits(pod: Obj) -> str:
    """What keeps a pod from running; empty if nothing does."""
    status = pod.get("status") or {}
    if deletion_requested(pod) or status.get("phase") in ("Succeeded", "Failed"):
        return ""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "no node yet")
    for entry in (
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ):
        state = entry.get("state") or {}
        if said := _container_waits(entry):
            return said
        if "running" in state and entry in (status.get("initContainerStatuses") or ()):
            return f"init container {entry.get('name')} runs"
    return "" if status.get("phase") == "Running" else "starting"


def _container_waits(status: Mapping[str, Any]) -> str:
    """Why a container is not there, and how it ended before."""
    waiting = (status.get("state") or {}).get("waiting") or {}
    reason, said = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    if not reason or reason in _STARTING:
        return ""
    ended = (status.get("lastState") or {}).get("terminated") or {}
    if ended:
        return f"{reason}: it ended with exit code {ended.get('exitCode')}"
    return f"{reason}: {said}" if said else reason


def waits_for(job: Obj, replicas: Iterable[Replica], now: str = "") -> str:
    """What the job as a whole waits for, in a sentence; empty if it does not."""
    spec, status = job["spec"], job.get("status") or {}
    conditions = {
        c.get("type"): c for c in status.get("conditions") or () if c.get("status") == "True"
    }
    if conditions.keys() & {"Succeeded", "Failed", "Complete"}:
        return ""
    if spec.get("suspend") or (spec.get("runPolicy") or {}).get("suspend"):
        return "It is suspended: nothing runs until it is resumed."
    found = list(replicas)
    waiting = [replica for replica in found if replica.waits]
    if found and not waiting:
        return ""
    if waiting:
        first = waiting[0]
        return f"{len(waiting)} of {len(found)} replicas wait. {first.title}: {first.waits}"
    said = [c.get("message") for c in status.get("conditions") or () if c.get("message")]
    return str(said[-1]) if said else "Its pods have not been made yet."


def counted(job: Obj) -> list[tuple[str, int, int]]:
    """``(role, running or done, wanted)`` for each role of a job."""
    spec, status = job["spec"], job.get("status") or {}
    for field, value in spec.items():
        if field.endswith("ReplicaSpecs") and isinstance(value, Mapping):
            counts = status.get("replicaStatuses") or {}
            return [
                (role, _alive(counts.get(role) or {}), int((replica or {}).get("replicas", 1)))
                for role, replica in value.items()
            ]
    return [
        (entry["name"], int(entry.get("active") or 0) + int(entry.get("succeeded") or 0), 0)
        for entry in status.get("jobsStatus") or ()
    ]


def _alive(count: Mapping[str, Any]) -> int:
    return int(count.get("active") or 0) + int(count.get("succeeded") or 0)


def percent_of(job: Obj) -> int | None:
    """How far the trainer says it is."""
    found = ((job.get("status") or {}).get("trainerStatus") or {}).get("progressPercentage")
    return int(found) if isinstance(found, int | float) else None
