"""What a change of status is worth telling as an Event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubeling.kube.events import EventType
from kubeling.kube.objects import Obj, condition, name
from kubeling.serving.runtimes import Runtime

__all__ = ["Announcement", "announcements"]


@dataclass(frozen=True, slots=True)
class Announcement:
    """An Event to be recorded about a service."""

    type: EventType
    reason: str
    message: str


def announcements(
    isvc: Obj, before: Mapping[str, Any], after: Mapping[str, Any], runtime: Runtime | None = None
) -> Iterator[Announcement]:
    """The Events of the change from one status to the next; ``runtime`` is what serves it now."""
    yield from _choice(before, after, runtime)
    yield from _readiness(isvc, before, after)
    yield from _failures(before, after)
    yield from _revisions(isvc, _predictor(before), _predictor(after))


def _choice(
    before: Mapping[str, Any], after: Mapping[str, Any], runtime: Runtime | None
) -> Iterator[Announcement]:
    keys = ("servingRuntimeName", "clusterServingRuntimeName")
    if runtime is not None and any(before.get(key) != after.get(key) for key in keys):
        chosen = f"{runtime.kind} {runtime.name} serves it over {runtime.protocol}"
        yield Announcement("Normal", "RuntimeSelected", f"{chosen}: {runtime.why}")


def _readiness(
    isvc: Obj, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Announcement]:
    was = condition({"status": before}, "Ready")
    now = condition({"status": after}, "Ready")
    if now is None:
        return
    was_ready = was is not None and was.status == "True"
    if now.status == "True" and not was_ready:
        yield Announcement(
            "Normal", "InferenceServiceReady", f"InferenceService [{name(isvc)}] is Ready"
        )
    elif now.status == "False" and was_ready:
        yield Announcement(
            "Warning",
            "InferenceServiceNotReady",
            f"InferenceService [{name(isvc)}] is no longer Ready: {now.message}",
        )


def _failures(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Announcement]:
    was = (before.get("modelStatus") or {}).get("lastFailureInfo") or {}
    now = (after.get("modelStatus") or {}).get("lastFailureInfo") or {}
    if now and now.get("message") != was.get("message"):
        yield Announcement("Warning", now["reason"], now["message"])


def _revisions(
    isvc: Obj, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Announcement]:
    created = after.get("latestCreatedRevision", "")
    if created and created != before.get("latestCreatedRevision"):
        yield Announcement("Normal", "RevisionCreated", f"revision {created}")
    rolled_out = after.get("latestRolledoutRevision", "")
    if rolled_out and rolled_out != before.get("latestRolledoutRevision"):
        yield Announcement("Normal", "RevisionRolledOut", f"all requests go to {rolled_out}")
        percent = isvc["spec"]["predictor"].get("canaryTrafficPercent")
        if percent not in (None, 100) and not before.get("latestRolledoutRevision"):
            yield Announcement(
                "Normal",
                "CanaryWithoutPrevious",
                f"canaryTrafficPercent is {percent}, but there is no revision before {rolled_out} "
                "to share with; the next change of the model is rolled out by that percentage",
            )
    split, was = _split(after), _split(before)
    if split != was and len(after.get("traffic") or ()) > 1:
        yield Announcement("Normal", "TrafficSplit", split)


def _predictor(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return (status.get("components") or {}).get("predictor") or {}


def _split(component: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{entry['percent']}% to {entry['revisionName']}"
        for entry in component.get("traffic") or ()
    )
