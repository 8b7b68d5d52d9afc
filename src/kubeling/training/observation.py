"""What the pods of a training job say: progress per role, failures, and what they wait for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from kubeling.kube.logtail import last_line
from kubeling.kube.objects import Obj, deletion_requested, name
from kubeling.training.job import Progress, Replica, TrainingJob

__all__ = [
    "Failure",
    "failure_of",
    "first_failure",
    "in_place",
    "phase",
    "progress",
    "restart_count",
    "waiting_for",
]

RETRYABLE_EXIT_CODE: Final = 128
"""From here on an exit code stands for a signal, so for trouble from outside."""

_STARTING: Final = frozenset({"", "ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, slots=True)
class Failure:
    """A pod that failed, and whether its role's policy starts it again."""

    pod: Obj
    replica: Replica
    exit_code: int | None
    reason: str
    retryable: bool

    def __str__(self) -> str:
        code = "" if self.exit_code is None else f" with exit code {self.exit_code}"
        return f"pod {name(self.pod)} failed{code}{f' ({self.reason})' if self.reason else ''}"


def phase(pod: Obj) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


def in_place(job: TrainingJob, pods: Iterable[Obj]) -> tuple[dict[Replica, Obj], list[Obj]]:
    """The pods by the replica they stand for, and those that stand for none."""
    wanted = {job.pod_name(replica): replica for replica in job.replicas()}
    placed: dict[Replica, Obj] = {}
    surplus: list[Obj] = []
    for pod in pods:
        replica = wanted.get(name(pod))
        if replica is None:
            surplus.append(pod)
        else:
            placed[replica] = pod
    return placed, surplus


def progress(job: TrainingJob, placed: dict[Replica, Obj]) -> dict[str, Progress]:
    """Each role's progress."""
    found = {}
    for role in job.replica_specs:
        phases = {r.index: phase(pod) for r, pod in placed.items() if r.type == role}
        counted = list(phases.values())
        found[role] = Progress(
            wanted=job.count(role),
            running=counted.count("Running"),
            succeeded=counted.count("Succeeded"),
            failed=counted.count("Failed"),
            done=frozenset(i for i, value in phases.items() if value == "Succeeded"),
        )
    return found


def failure_of(job: TrainingJob, replica: Replica, pod: Obj) -> Failure | None:
    """The failure of a pod, if it failed."""
    if phase(pod) != "Failed" or deletion_requested(pod):
        return None
    ended = _ended(pod, str(job.default_container(replica.type).get("name")))
    code = None if ended.get("exitCode") is None else int(ended["exitCode"])
    match job.restart_policy(replica.type):
        case "ExitCode":
            # Without a code the pod never ran to its end: it was evicted or lost with its node.
            retryable = code is None or code >= RETRYABLE_EXIT_CODE
        case "OnFailure" | "Always":
            retryable = True
        case _:
            retryable = False
    status = pod.get("status") or {}
    reason = last_line(str(ended.get("message") or "")) or str(
        status.get("message") or status.get("reason") or ""
    )
    return Failure(pod, replica, code, reason, retryable)


def first_failure(pods: Iterable[Obj]) -> str:
    """How the first failed pod ended, in words; empty if none failed."""
    for pod in sorted(pods, key=name):
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            ended = (status.get("state") or {}).get("terminated") or {}
            if phase(pod) == "Failed" and ended.get("exitCode"):
                said = last_line(str(ended.get("message") or ""))
                text = f"pod {name(pod)} failed with exit code {ended['exitCode']}"
                return f"{text} ({said})" if said else text
    return ""


def restart_count(job: TrainingJob, placed: dict[Replica, Obj]) -> int:
    """How often the agent restarted containers of roles that allow it."""
    return sum(
        int(status.get("restartCount") or 0)
        for replica, pod in placed.items()
        if job.restart_policy(replica.type) in ("OnFailure", "Always")
        for key in ("initContainerStatuses", "containerStatuses")
        for status in (pod.get("status") or {}).get(key) or ()
    )


def waiting_for(pods: Sequence[Obj]) -> str:
    """What keeps pods from running, in one line; empty if nothing unusual does.

    Pods that wait for the same thing are counted together.
    """
    reasons: dict[str, list[str]] = {}
    for pod in sorted(pods, key=name):
        if phase(pod) in ("Pending", "Running") and (reason := _blocked(pod)):
            reasons.setdefault(reason, []).append(name(pod))
    return "; ".join(f"{_counted(names, len(pods))}: {reason}" for reason, names in reasons.items())


def _counted(names: list[str], total: int) -> str:
    if len(names) == 1:
        return f"pod {names[0]} waits"
    return f"{len(names)} of {total} pods wait"


def _blocked(pod: Obj) -> str:
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _sentence(condition)
    for key in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(key) or ():
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason", "") not in _STARTING:
                return _sentence(waiting)
    return ""


def _sentence(state: Obj) -> str:
    return ": ".join(part for part in (state.get("reason"), state.get("message")) if part)


def _ended(pod: Obj, container: str) -> Obj:
    """How a container ended, empty if it did not."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status.get("name") == container:
            ended: Obj = (status.get("state") or {}).get("terminated") or {}
            return ended
    return {}
