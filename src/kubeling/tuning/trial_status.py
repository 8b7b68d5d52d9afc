"""A trial's states and conditions, and its observation."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from kubeling.kube.objects import Obj, deep_copy, format_time, set_condition
from kubeling.tuning import gjson
from kubeling.tuning.metrics import UNAVAILABLE, Summary

__all__ = [
    "REASONS",
    "JobEnd",
    "TrialPhase",
    "created",
    "ended",
    "has_ended",
    "job_end",
    "observation_of",
    "phase_of",
    "running",
]


class TrialPhase(Enum):
    """Where a trial stands; the values are the conditions that say so."""

    PENDING = "Created"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    KILLED = "Killed"
    EARLY_STOPPED = "EarlyStopped"
    METRICS_UNAVAILABLE = "MetricsUnavailable"


_ENDED: Final = (
    TrialPhase.FAILED,
    TrialPhase.KILLED,
    TrialPhase.METRICS_UNAVAILABLE,
    TrialPhase.EARLY_STOPPED,
    TrialPhase.SUCCEEDED,
)


REASONS: Final = {
    TrialPhase.FAILED: "TrialFailed",
    TrialPhase.KILLED: "TrialKilled",
    TrialPhase.METRICS_UNAVAILABLE: "MetricsUnavailable",
    TrialPhase.EARLY_STOPPED: "TrialEarlyStopped",
    TrialPhase.SUCCEEDED: "TrialSucceeded",
}
"""Upstream's reasons, of ``trial_controller_status.go`` and its early stopping service."""


def phase_of(trial: Obj) -> TrialPhase:
    """Where a trial stands, by its conditions."""
    conditions = (trial.get("status") or {}).get("conditions") or ()
    true = {c.get("type") for c in conditions if c.get("status") == "True"}
    for phase in (*_ENDED, TrialPhase.RUNNING):
        if phase.value in true:
            return phase
    return TrialPhase.PENDING


def has_ended(trial: Obj) -> bool:
    return phase_of(trial) in _ENDED


def created(trial: Obj, now: dt.datetime) -> Obj:
    """The status of a trial that was seen."""
    status: Obj = deep_copy(trial.get("status") or {})
    status.setdefault("startTime", format_time(now))
    _set(status, "Created", True, "TrialCreated", "Trial is created", now)
    return status


def running(trial: Obj, now: dt.datetime, message: str = "") -> Obj:
    """The status of a trial whose object exists."""
    status = created(trial, now)
    _set(status, "Running", True, "TrialRunning", message or "Trial is running", now)
    return status


def ended(
    trial: Obj,
    phase: TrialPhase,
    message: str,
    now: dt.datetime,
    observation: Obj | None = None,
    reason: str = "",
) -> Obj:
    """The status of a trial that ended in a phase."""
    status = created(trial, now)
    ran = next((c for c in status["conditions"] if c.get("type") == "Running"), None)
    if ran is not None:
        _set(status, "Running", False, ran.get("reason", ""), ran.get("message", ""), now)
    _set(status, phase.value, True, reason or REASONS[phase], message, now)
    status["completionTime"] = format_time(now)
    if observation is not None:
        status["observation"] = observation
    return status


def observation_of(names: Sequence[str], summaries: Mapping[str, Summary]) -> Obj:
    """The observation; a metric that never appeared is ``unavailable``."""
    missing = Summary(UNAVAILABLE, UNAVAILABLE, UNAVAILABLE)
    metrics = []
    for name in names:
        found = summaries.get(name, missing)
        metrics.append({"name": name, "min": found.min, "max": found.max, "latest": found.latest})
    return {"metrics": metrics}


@dataclass(frozen=True, slots=True)
class JobEnd:
    """What the object of a trial says about its end; empty where it says nothing."""

    reason: str = ""
    message: str = ""

    def added_to(self, reason: str, message: str) -> tuple[str, str]:
        """A reason and a message with the job's own appended, in upstream's words."""
        if self.reason:
            reason = f"{reason}. Job reason: {self.reason}"
        if self.message:
            message = f"{message}. Job message: {self.message}"
        return reason, message


def job_end(job: Obj, condition: str) -> JobEnd:
    """What the object says where a condition of it holds."""
    found: Any = gjson.get(job, condition)
    first = found[0] if isinstance(found, list) and found else found
    if not isinstance(first, dict):
        return JobEnd()
    return JobEnd(str(first.get("reason") or ""), str(first.get("message") or ""))


def _set(status: Obj, type: str, value: bool, reason: str, message: str, now: dt.datetime) -> None:
    set_condition(
        status,
        type,
        value,
        reason=reason,
        message=message,
        now=now,
        to_end=True,
        stamp_update=True,
    )
