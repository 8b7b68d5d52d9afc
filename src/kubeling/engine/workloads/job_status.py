"""A Job's status: its conditions, and the count of pods that ended. Pure.

Every pod is counted once. It is held by a finalizer; its uid is noted as uncounted; the finalizer
goes; and only when it has gone does the counter rise and the note disappear. Whatever step a crash
comes after, the next look finds where to go on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass

from kubeling.kube.objects import Obj, format_time, parse_time

__all__ = ["Outcome", "ensure_condition", "finish", "finished_at", "outcome_so_far", "settle"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the Job ends; it is told at once, and final when all its pods have ended."""

    succeeded: bool
    reason: str
    message: str

    @property
    def interim(self) -> str:
        return "SuccessCriteriaMet" if self.succeeded else "FailureTarget"

    @property
    def final(self) -> str:
        return "Complete" if self.succeeded else "Failed"


def finished_at(job: Obj) -> dt.datetime | None:
    """When the Job completed or failed, if it did."""
    for entry in (job.get("status") or {}).get("conditions") or ():
        if entry["type"] in ("Complete", "Failed") and entry["status"] == "True":
            return parse_time(entry["lastTransitionTime"])
    return None


def outcome_so_far(status: Obj) -> Outcome | None:
    """The outcome that was decided before."""
    for entry in status.get("conditions") or ():
        if entry["status"] == "True" and entry["type"] in ("SuccessCriteriaMet", "FailureTarget"):
            succeeded = entry["type"] == "SuccessCriteriaMet"
            return Outcome(succeeded, entry.get("reason", ""), entry.get("message", ""))
    return None


def ensure_condition(
    status: Obj, type_: str, value: str, reason: str, message: str, now: dt.datetime
) -> bool:
    """Sets a condition; one that would begin as ``False`` is not begun. Tells of a change."""
    conditions: list[Obj] = status.get("conditions") or []
    stamp = format_time(now)
    fresh = {
        "type": type_,
        "status": value,
        "lastProbeTime": stamp,
        "lastTransitionTime": stamp,
        "reason": reason,
        "message": message,
    }
    for number, entry in enumerate(conditions):
        if entry["type"] != type_:
            continue
        same = (entry["status"], entry.get("reason", ""), entry.get("message", ""))
        if same == (value, reason, message):
            return False
        conditions[number] = fresh
        return True
    if value != "False":
        status["conditions"] = [*conditions, fresh]
        return True
    return False


def settle(status: Obj, held: Collection[str]) -> None:
    """Counts what was noted and is held no longer; ``held`` are uids of pods that still are."""
    uncounted: Obj = status.setdefault("uncountedTerminatedPods", {})
    for field in ("succeeded", "failed"):
        noted = uncounted.get(field) or []
        kept = [uid for uid in noted if uid in held]
        if len(kept) < len(noted):
            status[field] = int(status.get(field) or 0) + len(noted) - len(kept)
        if kept:
            uncounted[field] = kept
        else:
            uncounted.pop(field, None)


def finish(status: Obj, outcome: Outcome, now: dt.datetime) -> bool:
    """Makes the outcome final if no pod is left to wait for; tells whether it did."""
    uncounted = status.get("uncountedTerminatedPods") or {}
    if any(uncounted.values()) or status.get("terminating") or status.get("active"):
        return False
    ensure_condition(status, outcome.final, "True", outcome.reason, outcome.message, now)
    if outcome.succeeded:
        status["completionTime"] = format_time(now)
    return True
