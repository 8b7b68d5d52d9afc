"""Kinds that are served in two groups or versions but stored once."""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj

__all__ = ["event_from_core", "event_to_core"]

_TO_CORE: Final = {
    "regarding": "involvedObject",
    "note": "message",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "reportingController": "reportingComponent",
}
_FROM_CORE: Final = {core: modern for modern, core in _TO_CORE.items()}


def event_to_core(event: Obj) -> Obj:
    """An ``events.k8s.io/v1`` Event as the core group spells it."""
    return {**_renamed(event, _TO_CORE), "apiVersion": "v1"}


def event_from_core(event: Obj) -> Obj:
    """A core Event as ``events.k8s.io/v1`` spells it."""
    return {**_renamed(event, _FROM_CORE), "apiVersion": "events.k8s.io/v1"}


def _renamed(event: Obj, names: dict[str, str]) -> Obj:
    return {names.get(key, key): value for key, value in event.items()}
