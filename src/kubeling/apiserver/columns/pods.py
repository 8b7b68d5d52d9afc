"""The columns of pods: one word for what the statuses of all their containers mean."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kubeling.apiserver.columns.column import AGE, Columns, age_of, computed, get, text, timed
from kubeling.kube.objects import Obj

__all__ = ["POD_COLUMNS", "has_condition"]


def has_condition(status: Mapping[str, Any], type: str) -> bool:
    """Whether a condition is true."""
    return any(
        c.get("type") == type and c.get("status") == "True" for c in status.get("conditions") or ()
    )


def _sidecars(pod: Obj) -> set[str]:
    return {
        container["name"]
        for container in get(pod, "spec", "initContainers", default=[])
        if container.get("restartPolicy") == "Always"
    }


def _initial_statuses(pod: Obj) -> list[Obj]:
    found: list[Obj] = get(pod, "status", "initContainerStatuses", default=[])
    return found


def _statuses(pod: Obj) -> list[Obj]:
    found: list[Obj] = get(pod, "status", "containerStatuses", default=[])
    return found


def _state(status: Obj, kind: str) -> Obj | None:
    found: Obj | None = (status.get("state") or {}).get(kind)
    return found


def _ready(pod: Obj) -> str:
    sidecars = _sidecars(pod)
    total = len(get(pod, "spec", "containers", default=[])) + len(sidecars)
    counted = [s for s in _initial_statuses(pod) if s["name"] in sidecars] + _statuses(pod)
    return f"{sum(bool(status.get('ready')) for status in counted)}/{total}"


# The one word


def _status(pod: Obj) -> str:
    status = pod.get("status") or {}
    reason: str = status.get("reason") or status.get("phase") or "Unknown"
    if any(c.get("reason") == "SchedulingGated" for c in status.get("conditions") or ()):
        reason = "SchedulingGated"
    initial = _initializing(pod)
    if initial is None or has_condition(status, "Initialized"):
        reason = _running_reason(pod, reason)
    else:
        reason = initial
    if "deletionTimestamp" in pod["metadata"]:
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return reason


def _initializing(pod: Obj) -> str | None:
    """What the first init container that is not done is doing, if there is one."""
    sidecars = _sidecars(pod)
    for index, status in enumerate(_initial_statuses(pod)):
        ended, waiting = _state(status, "terminated"), _state(status, "waiting")
        if ended is not None and ended.get("exitCode") == 0:
            continue
        if status["name"] in sidecars and status.get("started"):
            continue
        if ended is not None:
            return f"Init:{_end(ended)}"
        if waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(get(pod, 'spec', 'initContainers', default=[]))}"
    return None


def _end(ended: Obj) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _running_reason(pod: Obj, reason: str) -> str:
    running = False
    for status in reversed(_statuses(pod)):
        waiting, ended = _state(status, "waiting"), _state(status, "terminated")
        if waiting and waiting.get("reason"):
            reason = waiting["reason"]
        elif ended is not None:
            reason = _end(ended)
        elif status.get("ready") and _state(status, "running") is not None:
            running = True
    if reason == "Completed" and running:
        return "Running" if has_condition(pod.get("status") or {}, "Ready") else "NotReady"
    return reason


# Restarts


def _restarts(pod: Obj, now: dt.datetime) -> str:
    counted = list(_restarting(pod))
    count = sum(int(status.get("restartCount") or 0) for status in counted)
    ends = [get(status, "lastState", "terminated", "finishedAt") for status in counted]
    if not count or not any(ends):
        return str(count)
    return f"{count} ({age_of(max(ends), now)} ago)"


def _restarting(pod: Obj) -> Iterator[Obj]:
    """The containers whose restarts count: while a pod initialises, those that do that."""
    if _initializing(pod) is not None and not has_condition(pod.get("status") or {}, "Initialized"):
        yield from _initial_statuses(pod)
        return
    sidecars = _sidecars(pod)
    yield from (status for status in _initial_statuses(pod) if status["name"] in sidecars)
    yield from _statuses(pod)


def _gates(pod: Obj) -> str:
    gates = [gate["conditionType"] for gate in get(pod, "spec", "readinessGates", default=[])]
    if not gates:
        return "<none>"
    met = sum(has_condition(pod.get("status") or {}, gate) for gate in gates)
    return f"{met}/{len(gates)}"


POD_COLUMNS: Final[Columns] = {
    ("", "Pod"): (
        computed("Ready", _ready),
        computed("Status", _status),
        timed("Restarts", _restarts),
        AGE,
        text("IP", "status", "podIP", priority=1),
        text("Node", "spec", "nodeName", priority=1),
        text("Nominated Node", "status", "nominatedNodeName", priority=1),
        computed("Readiness Gates", _gates, 1),
    ),
}
