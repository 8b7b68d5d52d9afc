"""One word for how an object is doing, whatever its kind: what lists and the home page show."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from kubeling.kube.durations import human_duration
from kubeling.kube.objects import Obj, deletion_requested, parse_time

__all__ = ["age", "elapsed", "is_active", "is_failed", "state_of"]

_WORDS: Final = {
    "complete": "succeeded",
    "completed": "succeeded",
    "succeeded": "succeeded",
    "failed": "failed",
    "error": "failed",
    "running": "running",
    "pending": "pending",
    "ready": "ready",
    "active": "ready",
    "bound": "ready",
}
_STATELESS: Final = ("Service", "EndpointSlice", "ConfigMap", "Secret")
_DECISIVE: Final = (
    "Failed", "Succeeded", "Complete", "Completed", "Ready", "Suspended", "Running", "Created"
)  # fmt: skip
_READY: Final = ("Ready", "Available")
_STOPPED: Final = "Stopped"
_NOT_LOADED: Final = "ModelLoadFailed"
"""Why a service of a language model is not ready, for good."""


def state_of(obj: Mapping[str, Any]) -> str:
    """One of pending, running, ready, succeeded, failed, suspended, stopped and deleting."""
    if deletion_requested(obj):
        return "deleting"
    if obj.get("kind") in _STATELESS:
        return "ready"
    status = obj.get("status") or {}
    if obj.get("kind") == "Pod" and _crashes(status):
        return "failed"
    phase = status.get("phase") or status.get("state")
    if isinstance(phase, str) and phase:
        return _WORDS.get(phase.lower(), phase.lower())
    return _by_conditions(obj, status)


def _by_conditions(obj: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    for kind in _DECISIVE:
        found = conditions.get(kind)
        if found is None:
            continue
        if found.get("status") == "True":
            return _WORDS.get(kind.lower(), "pending" if kind == "Created" else kind.lower())
        if found.get("reason") == _STOPPED:
            return "stopped"
        if kind in _READY:
            failed = _has_failed(status) or found.get("reason") == _NOT_LOADED
            return "failed" if failed else "pending"
    if status.get("replicas") or "readyReplicas" in status:
        return "ready" if status.get("readyReplicas") else "pending"
    return "pending" if "spec" in obj and not status else "ready"


def _crashes(status: Mapping[str, Any]) -> bool:
    """A pod whose container ends again and again is in the phase Running."""
    return any(
        ((entry.get("state") or {}).get("waiting") or {}).get("reason") == "CrashLoopBackOff"
        for field in ("initContainerStatuses", "containerStatuses")
        for entry in status.get(field) or ()
    )


def _has_failed(status: Mapping[str, Any]) -> bool:
    transition = (status.get("modelStatus") or {}).get("transitionStatus")
    return transition in ("BlockedByFailedLoad", "InvalidSpec")


def is_active(obj: Mapping[str, Any]) -> bool:
    """Whether something is under way."""
    return state_of(obj) in ("pending", "running")


def is_failed(obj: Mapping[str, Any]) -> bool:
    return state_of(obj) == "failed"


def age(obj: Obj, now: dt.datetime) -> str:
    """How long ago the object was created, as kubectl prints it."""
    return elapsed(obj["metadata"].get("creationTimestamp"), now)


def elapsed(since: str | None, until: str | dt.datetime | None) -> str:
    """The time between two moments as kubectl prints it; nothing if one is not known."""
    if not since or not until:
        return ""
    end = until if isinstance(until, dt.datetime) else parse_time(until)
    return human_duration((end - parse_time(since)).total_seconds())
