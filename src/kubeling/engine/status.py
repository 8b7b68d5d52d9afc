"""A pod's status, composed from its state in one place. Pure.

Field for field what the kubelet reports, because ``kubectl``, the SDKs and our own controllers read
all of it. Times of conditions are kept from the previous status while their value stays.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubeling.engine.containers import Exit
from kubeling.engine.pods import (
    CREATING,
    INITIALIZING,
    ContainerState,
    Decision,
    Ended,
    PodState,
    Running,
    Waiting,
)
from kubeling.engine.podspec import (
    ephemeral_containers,
    init_containers,
    is_sidecar,
    main_containers,
    qos_class,
    spec,
)
from kubeling.kube.objects import Obj, format_time, generation, set_condition, uid

__all__ = [
    "PodPlacement",
    "StatusExtra",
    "image_id_of",
    "pod_status",
    "status_of",
    "termination_message",
    "unscheduled_status",
]

_CRASH_LOOP: Final = "CrashLoopBackOff"
_OWN: Final = frozenset(
    {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"}
)
_RESIZES: Final = ("PodResizePending", "PodResizeInProgress")
_DEADLINE: Final = "Pod was active on the node longer than the specified deadline"


@dataclass(frozen=True, slots=True)
class PodPlacement:
    """Where a pod runs: fixed once it has a node."""

    host_ip: str
    pod_ip: str
    started_at: dt.datetime


@dataclass(frozen=True, slots=True)
class StatusExtra:
    """What the containers' states do not say.

    By container: the ids of images, and the ``resources`` it runs with. ``evicted`` says why the
    node wants the pod gone, ``resizing`` is the condition of a resize that is not done.
    """

    image_ids: Mapping[str, str]
    resources: Mapping[str, Obj]
    evicted: str = ""
    resizing: Obj | None = None


def pod_status(
    pod: Obj,
    state: PodState,
    decision: Decision,
    placement: PodPlacement,
    extra: StatusExtra,
    now: dt.datetime,
) -> Obj:
    """The whole status of a pod that has a node."""
    previous = pod.get("status") or {}
    status: Obj = {
        "phase": decision.phase,
        "observedGeneration": generation(pod) or None,
        "conditions": [dict(c) for c in previous.get("conditions") or ()],
        "hostIP": placement.host_ip,
        "hostIPs": [{"ip": placement.host_ip}],
        "startTime": format_time(placement.started_at),
        "qosClass": previous.get("qosClass") or qos_class(pod),
    }
    if placement.pod_ip:
        status["podIP"] = placement.pod_ip
        status["podIPs"] = [{"ip": placement.pod_ip}]
    if state.stopping == "DeadlineExceeded" and decision.finished:
        status["reason"], status["message"] = "DeadlineExceeded", _DEADLINE
    if state.stopping == "Evicted":
        if decision.finished:
            status["reason"], status["message"] = "Evicted", extra.evicted
        set_condition(
            status,
            "DisruptionTarget",
            True,
            reason="TerminationByKubelet",
            message=extra.evicted,
            now=now,
        )
    _conditions(pod, state, decision, status, now)
    _resizing(status, extra.resizing, now)
    for field, containers in (
        ("initContainerStatuses", init_containers(pod)),
        ("containerStatuses", main_containers(pod)),
        ("ephemeralContainerStatuses", ephemeral_containers(pod)),
    ):
        if containers:
            status[field] = [_container_status(pod, c, state, decision, extra) for c in containers]
    return {key: value for key, value in status.items() if value is not None}


def status_of(pod: Obj, container: str, attempt: int) -> Obj | None:
    """What was last said of an attempt at a container, if it ran then."""
    identity = _identity(pod, container, attempt)
    for found in _container_statuses(pod):
        if found.get("containerID") == identity and "running" in (found.get("state") or {}):
            return found
    return None


def image_id_of(pod: Obj, container: str) -> str:
    """What was last said that a container's image is."""
    found = next((s for s in _container_statuses(pod) if s["name"] == container), {})
    return str(found.get("imageID") or "")


def _container_statuses(pod: Obj) -> Iterator[Obj]:
    status = pod.get("status") or {}
    for field in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        yield from status.get(field) or ()


def unscheduled_status(pod: Obj, message: str, now: dt.datetime) -> Obj:
    """The status of a pod that no node takes."""
    previous = pod.get("status") or {}
    status: Obj = {
        "phase": "Pending",
        "conditions": [dict(c) for c in previous.get("conditions") or ()],
        "qosClass": previous.get("qosClass") or qos_class(pod),
    }
    gated = bool(spec(pod).get("schedulingGates"))
    reason = "SchedulingGated" if gated else "Unschedulable"
    set_condition(status, "PodScheduled", False, reason=reason, message=message, now=now)
    return status


def termination_message(container: Obj, ended: Exit, file: str, log_tail: str) -> str:
    """What a container says about its end: its termination file, or its last log lines."""
    if ended.message:
        return ended.message
    if file:
        return file
    wants_log = container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
    return log_tail if wants_log and ended.exit_code else ""


def _conditions(
    pod: Obj, state: PodState, decision: Decision, status: Obj, now: dt.datetime
) -> None:
    def set_to(type: str, value: bool, reason: str = "", message: str = "") -> None:
        set_condition(status, type, value, reason=reason, message=message, now=now)

    mains = main_containers(pod)
    alive = any(s.running for s in state.containers.values())
    begun = any(state.of(c).attempt >= 0 for c in mains)
    uninitialised = [] if begun else _uninitialised(pod, state)
    served = [*filter(is_sidecar, init_containers(pod)), *mains]
    unready = [c["name"] for c in served if not _is_ready(state.of(c))]
    set_to("PodReadyToStartContainers", alive or not decision.finished)
    if decision.finished:
        completed = "PodCompleted" if decision.phase == "Succeeded" else "PodFailed"
        set_to("Initialized", begun or not uninitialised, completed if begun else "")
        set_to("Ready", False, completed)
        set_to("ContainersReady", False, completed)
    else:
        listed = _listed(uninitialised)
        text = f"containers with incomplete status: {listed}"
        set_to(
            "Initialized",
            not uninitialised,
            *(("ContainersNotInitialized", text) if uninitialised else ()),
        )
        reason = _unready(unready)
        gates = _closed_gates(pod, status["conditions"])
        set_to("Ready", not unready and not gates, *(reason or gates))
        set_to("ContainersReady", not unready, *reason)
    set_to("PodScheduled", True)


def _resizing(status: Obj, condition: Obj | None, now: dt.datetime) -> None:
    """There is a condition of a resize only while there is something to say."""
    status["conditions"] = [
        c for c in status["conditions"]
        if c["type"] not in _RESIZES or (condition is not None and c["type"] == condition["type"])
    ]  # fmt: skip
    if condition is not None:
        why = {"reason": condition["reason"], "message": condition["message"]}
        set_condition(status, condition["type"], True, **why, now=now)


def _unready(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    return ("ContainersNotReady", f"containers with unready status: {_listed(names)}")


def _closed_gates(pod: Obj, conditions: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    true = {c["type"] for c in conditions if c.get("status") == "True"}
    gates = [g["conditionType"] for g in spec(pod).get("readinessGates") or ()]
    closed = [gate for gate in gates if gate not in true]
    if not closed:
        return ()
    return ("ReadinessGatesNotReady", f'the status of pod readiness gate "{closed[0]}" is not True')


def _listed(names: Sequence[str]) -> str:
    return f"[{' '.join(names)}]"


def _uninitialised(pod: Obj, state: PodState) -> list[str]:
    return [
        c["name"]
        for c in init_containers(pod)
        if not (
            state.of(c).started
            if is_sidecar(c)
            else (ended := state.of(c).ended) is not None and ended.exit_code == 0
        )
    ]


def _is_ready(known: ContainerState) -> bool:
    return isinstance(known.current, Running) and known.current.started and known.current.ready


def _container_status(
    pod: Obj, container: Obj, state: PodState, decision: Decision, extra: StatusExtra
) -> Obj:
    known = state.of(container)
    name = container["name"]
    identity = _identity(pod, name, known.attempt) if known.attempt >= 0 else ""
    plain_init = container in init_containers(pod) and not is_sidecar(container)
    ended = known.ended
    ready = _is_ready(known) and container not in ephemeral_containers(pod)
    status: Obj = {
        "name": name,
        "state": _state(pod, container, known, decision, identity),
        "lastState": {},
        "ready": ended is not None and ended.exit_code == 0 if plain_init else ready,
        "restartCount": max(known.attempt, 0),
        "image": container.get("image", ""),
        "imageID": extra.image_ids.get(name, ""),
        "containerID": identity,
        "started": known.started,
    }
    if resources := extra.resources.get(name):
        status["resources"] = resources
        if requests := resources.get("requests"):
            status["allocatedResources"] = requests
    if wanted := (container.get("lifecycle") or {}).get("stopSignal"):
        status["stopSignal"] = wanted
    previous = ended if name in decision.backing_off else known.last
    if previous is not None:
        attempt = known.attempt if name in decision.backing_off else known.attempt - 1
        status["lastState"] = {"terminated": _terminated(previous, _identity(pod, name, attempt))}
    return status


def _state(
    pod: Obj, container: Obj, known: ContainerState, decision: Decision, identity: str
) -> Obj:
    name = container["name"]
    match known.current:
        case Running(started_at=started_at):
            return {"running": {"startedAt": _time(started_at)}}
        case Ended(exit=ended) if name in decision.backing_off:
            return {"waiting": _crash_loop(pod, name, decision.backing_off[name])}
        case Ended(exit=ended):
            return {"terminated": _terminated(ended, identity)}
        case Waiting(reason=reason, message=message):
            if reason == CREATING and not _may_start(pod, container, decision):
                reason = INITIALIZING
            return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def _identity(pod: Obj, container: str, attempt: int) -> str:
    return f"kubeling://{uid(pod)}/{container}/{attempt}"


def _may_start(pod: Obj, container: Obj, decision: Decision) -> bool:
    return not init_containers(pod) or container["name"] in decision.start


def _crash_loop(pod: Obj, name: str, delay: float) -> Obj:
    metadata = pod["metadata"]
    whole = f"{metadata['name']}_{metadata.get('namespace', '')}({metadata.get('uid', '')})"
    text = f"back-off {_duration(delay)} restarting failed container={name} pod={whole}"
    return {"reason": _CRASH_LOOP, "message": text}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _terminated(ended: Exit, identity: str) -> Obj:
    reason = ended.reason or ("Completed" if ended.exit_code == 0 else "Error")
    state: Obj = {
        "exitCode": ended.exit_code,
        "reason": reason,
        "startedAt": _time(ended.started_at),
        "finishedAt": _time(ended.finished_at),
        "containerID": identity,
    }
    if ended.signal:
        state["signal"] = ended.signal
    if ended.message:
        state["message"] = ended.message
    return state


def _time(seconds: float) -> str:
    return format_time(dt.datetime.fromtimestamp(seconds, dt.UTC))
