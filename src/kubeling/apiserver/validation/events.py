"""Events of both groups: one store, but whoever writes the newer one is held to more.

Source: ``pkg/apis/core/validation/events.go``. An event with an ``eventTime`` is a new one in
either group; events of ``events.k8s.io`` have to be, and change only by being repeated.
"""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.names import qualified_name_fault
from kubeling.apiserver.validation.rules import IMMUTABLE, Checks, Errors
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["EVENT_RULES"]

_LIMITS: Final = {"reportingInstance": 128, "action": 128, "reason": 128}
_NOTE_LIMIT: Final = 1024
_OF_OLD: Final = {
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "deprecatedSource": "source",
}
_LASTING: Final = {
    **_OF_OLD,
    "regarding": "involvedObject",
    "reason": "reason",
    "note": "message",
    "type": "type",
    "eventTime": "eventTime",
    "action": "action",
    "related": "related",
    "reportingController": "reportingController",
    "reportingInstance": "reportingInstance",
}
"""The fields of an event that stay, with the names by which errors know them."""


def _core(new: Obj, old: Obj | None) -> Errors:
    about = new.get("involvedObject") or {}
    yield from _event(new, about, "reportingComponent", new.get("message") or "")


def _modern(new: Obj, old: Obj | None) -> Errors:
    about = new.get("regarding") or {}
    yield from _event(new, about, "reportingController", new.get("note") or "")
    if old is None or new.get("series") != old.get("series"):
        yield from _series(new.get("series"))
    if old is not None:
        for field, name in _LASTING.items():
            if new.get(field) != old.get(field):
                yield FieldError(name, "Invalid value", IMMUTABLE, new.get(field))
        return
    if not new.get("eventTime"):
        yield FieldError("eventTime", "Required value", "")
    if new.get("type") not in ("Normal", "Warning"):
        message = f"has invalid value: {new.get('type') or ''}"
        yield FieldError("type", "Invalid value", message, "")
    for field, name in _OF_OLD.items():
        if new.get(field):
            yield FieldError(name, "Invalid value", "needs to be unset", "")


def _event(event: Obj, about: Obj, controller: str, note: str) -> Errors:
    namespace, where = event["metadata"].get("namespace", ""), about.get("namespace") or ""
    if not event.get("eventTime"):
        if where != namespace and (where or namespace not in ("", "default")):
            yield _elsewhere(where)
        return
    if not where and namespace not in ("default", "kube-system"):
        yield _elsewhere(where)
    if not event.get(controller):
        yield FieldError(controller, "Required value", "")
    elif fault := qualified_name_fault(event[controller]):
        yield FieldError(controller, "Invalid value", fault, event[controller])
    for field, limit in _LIMITS.items():
        if not event.get(field):
            yield FieldError(field, "Required value", "")
        elif len(event[field]) > limit:
            yield FieldError(field, "Invalid value", f"can have at most {limit} characters", "")
    if len(note) > _NOTE_LIMIT:
        message = f"can have at most {_NOTE_LIMIT} characters"
        yield FieldError("message", "Invalid value", message, "")


def _elsewhere(namespace: str) -> FieldError:
    message = "does not match event.namespace"
    return FieldError("involvedObject.namespace", "Invalid value", message, namespace)


def _series(series: Obj | None) -> Errors:
    if series is None:
        return
    if (series.get("count") or 0) < 2:
        yield FieldError("series.count", "Invalid value", "should be at least 2", "")
    if not series.get("lastObservedTime"):
        yield FieldError("series.lastObservedTime", "Required value", "")


EVENT_RULES: Final[Checks] = {("", "Event"): _core, ("events.k8s.io", "Event"): _modern}
