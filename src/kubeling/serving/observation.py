"""What is to be seen of a service's pods: which revisions are ready, and why others are not."""

from __future__ import annotations

import datetime as dt
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubeling.kube import objects
from kubeling.kube.logtail import last_line
from kubeling.kube.objects import Obj, condition, labels, name, parse_time
from kubeling.serving.names import (
    AT_REST,
    COMPONENT,
    DIGEST,
    REJECTED,
    REVISION,
    SOURCE_VOLUME,
    VARIANT,
)

__all__ = [
    "Failure",
    "ObservedRevision",
    "is_at_rest",
    "is_pod_ready",
    "is_waking",
    "observe",
    "pod_failure",
    "revision_of",
]

_NORMAL_WAITING: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
_INITIALIZER: Final = "storage-initializer"
_STOPPED: Final = frozenset({128 + signal.SIGTERM, 128 + signal.SIGKILL})
_UNREADY_AT_FIRST: Final = dt.timedelta(seconds=1)
"""When a pod is first said not to be ready, at the latest, after its start."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a revision's pods do not come up; ``reason`` is upstream's word for it.

    ``waiting`` ones may pass by themselves (no room on the node, a claim that is not bound yet).
    """

    reason: str
    message: str
    location: str = ""
    time: str = ""
    exit_code: int = 0
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class ObservedRevision:
    """One revision: its Deployments by component and their pods."""

    number: int
    digest: str
    deployments: Mapping[str, Obj]
    pods: Mapping[str, Sequence[Obj]]

    def is_ready(self, components: Iterable[str]) -> bool:
        """Whether every component answers."""
        return all(self.component_ready(component) for component in components)

    def component_ready(self, component: str) -> bool:
        """Whether its Deployment is available, or only at rest (or on its way back from there)."""
        deployment = self.deployments.get(component)
        if deployment is None:
            return False
        if not deployment["spec"].get("replicas", 1):
            return is_at_rest(deployment)
        status = deployment.get("status") or {}
        if not status.get("readyReplicas"):
            failure = self.failure(component) if is_waking(deployment) else None
            return is_waking(deployment) and (failure is None or failure.waiting)
        available = condition(deployment, "Available")
        return available is None or available.status == "True"

    def component_answers(self, component: str) -> bool:
        """Whether any of its pods does, be they fewer than there should be."""
        return self.component_ready(component) or any(
            is_pod_ready(pod) for pod in self.pods.get(component, ())
        )

    def answers(self, components: Iterable[str]) -> bool:
        """Whether a request finds a pod of every component."""
        return all(self.component_answers(component) for component in components)

    @property
    def rejected(self) -> bool:
        """Whether it was a canary that has been rolled back."""
        predictor = self.deployments.get("predictor")
        return predictor is not None and REJECTED in objects.annotations(predictor)

    @property
    def variant(self) -> str:
        """The ``name`` of its predictor, if it has one."""
        return next((v for d in self.deployments.values() if (v := labels(d).get(VARIANT))), "")

    def failure(self, component: str) -> Failure | None:
        """Why the component does not come up, if that can be told."""
        found = [f for pod in self.pods.get(component, ()) if (f := pod_failure(pod))]
        if found:
            return found[0]
        deployment = self.deployments.get(component)
        refused = condition(deployment, "ReplicaFailure") if deployment else None
        if refused is not None and refused.status == "True":
            return Failure("RuntimeUnhealthy", refused.message)
        return None


def observe(deployments: Iterable[Obj], pods: Iterable[Obj]) -> dict[int, ObservedRevision]:
    """A service's revisions by number."""
    pods_of: dict[tuple[int, str], list[Obj]] = {}
    for pod in pods:
        found = labels(pod)
        key = (revision_of(pod), found.get(COMPONENT, ""))
        pods_of.setdefault(key, []).append(pod)
    grouped: dict[int, dict[str, Obj]] = {}
    for deployment in deployments:
        number = revision_of(deployment)
        if number:
            grouped.setdefault(number, {})[labels(deployment).get(COMPONENT, "")] = deployment
    return {
        number: ObservedRevision(
            number,
            next((d for o in members.values() if (d := objects.annotations(o).get(DIGEST))), ""),
            members,
            {component: pods_of.get((number, component), []) for component in members},
        )
        for number, members in grouped.items()
    }


def revision_of(obj: Obj) -> int:
    """The number of the revision an object belongs to, or 0."""
    text = labels(obj).get(REVISION, "")
    return int(text) if text.isdigit() else 0


def is_at_rest(deployment: Obj) -> bool:
    """Whether a component has no pods only because nobody asks."""
    resting = objects.annotations(deployment).get(AT_REST) == "true"
    return resting and deployment["spec"].get("replicas", 1) == 0


def is_waking(deployment: Obj) -> bool:
    """Whether a component that was at rest is getting its pods back."""
    return objects.annotations(deployment).get(AT_REST) == "waking"


def is_pod_ready(pod: Obj) -> bool:
    """Whether requests may be sent to the pod."""
    ready = condition(pod, "Ready")
    return ready is not None and ready.status == "True"


def pod_failure(pod: Obj) -> Failure | None:
    """Why a pod does not become ready, if anything says so."""
    if is_pod_ready(pod):
        return None
    status = pod.get("status") or {}
    for entry in status.get("initContainerStatuses") or ():
        if found := _container_failure(pod, entry):
            return found
    for entry in status.get("containerStatuses") or ():
        if found := _container_failure(pod, entry):
            return found
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return Failure("Unschedulable", scheduled.message, name(pod), waiting=True)
    return None


def _container_failure(pod: Obj, entry: Mapping[str, Any]) -> Failure | None:
    state = entry.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (entry.get("lastState") or {}).get("terminated") or {}
    if ended.get("exitCode") and not entry.get("ready"):
        if _starts_again(pod, state, ended):
            return None
        return _ended(pod, entry, ended)
    reason, said = waiting.get("reason", ""), waiting.get("message", "")
    if reason not in _NORMAL_WAITING:
        text = f"container {entry['name']}: {reason}: {said}".rstrip(": ")
        return Failure("RuntimeUnhealthy", text, name(pod))
    if f'"{SOURCE_VOLUME}' in said:
        return Failure("ModelLoadFailed", f"{said}; check storageUri", name(pod))
    return Failure("PodPending", said, name(pod), waiting=True) if said else None


def _starts_again(pod: Obj, state: Mapping[str, Any], ended: Mapping[str, Any]) -> bool:
    """Whether how a container ended says nothing of whether its model loads.

    Somebody stopped it (such as the node when it was shut down), or it had served before it ended.
    What keeps ending is not stopped by others.
    """
    if (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff":
        return False
    stopped = ended["exitCode"] in _STOPPED and ended.get("reason") != "OOMKilled"
    return stopped or ("running" in state and _had_served(pod, ended))


def _had_served(pod: Obj, ended: Mapping[str, Any]) -> bool:
    """Whether the pod was ready until the container ended; it begins its life unready."""
    status = pod.get("status") or {}
    entries = [c for c in status.get("conditions") or () if c["type"] == "Ready"]
    changed = entries[0].get("lastTransitionTime") if entries else None
    began, finished = status.get("startTime"), ended.get("finishedAt")
    if not (changed and began and finished):
        return False
    since = parse_time(changed)
    return since >= parse_time(finished) and since > parse_time(began) + _UNREADY_AT_FIRST


def _ended(pod: Obj, entry: Mapping[str, Any], ended: Mapping[str, Any]) -> Failure:
    code, reason = int(ended["exitCode"]), ended.get("reason") or "Error"
    said = last_line(str(ended.get("message") or ""))
    if reason == "OOMKilled":
        said = f"OOMKilled: it needs more memory than its limit{_limit_of(pod, entry)}; raise it"
    elif not said:
        said = f"{reason}, exit code {code}; see kubectl logs {name(pod)} -c {entry['name']}"
    message = (
        said if entry["name"].startswith(_INITIALIZER) else f"container {entry['name']}: {said}"
    )
    return Failure("ModelLoadFailed", message, name(pod), str(ended.get("finishedAt") or ""), code)


def _limit_of(pod: Obj, entry: Mapping[str, Any]) -> str:
    spec = pod.get("spec") or {}
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        if container["name"] == entry["name"]:
            limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
            return f" of {limit}" if limit else ""
    return ""
