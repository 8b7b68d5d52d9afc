"""An experiment's status: a function of its trials, the suggestion and the status before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from kubeling.kube.objects import (
    Obj,
    condition,
    deep_copy,
    format_time,
    is_condition_true,
    name,
    remove_condition,
    set_condition,
)
from kubeling.tuning.metrics import strategy_value
from kubeling.tuning.tally import Tally
from kubeling.tuning.trial_status import TrialPhase, phase_of

__all__ = ["END_REACHED", "GOAL_REACHED", "MAX_TRIALS_REACHED", "has_ended", "status_of"]

GOAL_REACHED: Final = "ExperimentGoalReached"
MAX_TRIALS_REACHED: Final = "ExperimentMaxTrialsReached"
END_REACHED: Final = "ExperimentSuggestionEndReached"
FAILED: Final = "ExperimentFailed"

_LISTS: Final = {
    TrialPhase.PENDING: ("pendingTrialList", "trialsPending"),
    TrialPhase.RUNNING: ("runningTrialList", "trialsRunning"),
    TrialPhase.SUCCEEDED: ("succeededTrialList", "trialsSucceeded"),
    TrialPhase.FAILED: ("failedTrialList", "trialsFailed"),
    TrialPhase.KILLED: ("killedTrialList", "trialsKilled"),
    TrialPhase.EARLY_STOPPED: ("earlyStoppedTrialList", "trialsEarlyStopped"),
    TrialPhase.METRICS_UNAVAILABLE: ("metricsUnavailableTrialList", "trialMetricsUnavailable"),
}


def has_ended(experiment: Obj) -> bool:
    """Whether the experiment succeeded or failed."""
    return is_condition_true(experiment, "Succeeded") or is_condition_true(experiment, "Failed")


def status_of(experiment: Obj, tally: Tally, suggestion: Obj | None, now: dt.datetime) -> Obj:
    """The status, with the conditions that follow from it."""
    status: Obj = deep_copy(experiment.get("status") or {})
    status.setdefault("startTime", format_time(now))
    _set(status, "Created", True, "ExperimentCreated", "Experiment is created", now)
    _count(status, tally)
    if (best := tally.best) is not None:
        status["currentOptimalTrial"] = {
            "bestTrialName": name(best),
            "parameterAssignments": best["spec"].get("parameterAssignments") or [],
            "observation": best["status"]["observation"],
        }
        if several := tally.front():
            status["paretoFront"] = several
    _conclude(experiment, status, tally, suggestion, now)
    return status


def _count(status: Obj, tally: Tally) -> None:
    for phase, (listed, counted) in _LISTS.items():
        names = tally.names(phase)
        for field, value in ((listed, names), (counted, len(names))):
            if value:
                status[field] = value
            else:
                status.pop(field, None)
    status["trials"] = tally.total


def _conclude(
    experiment: Obj, status: Obj, tally: Tally, suggestion: Obj | None, now: dt.datetime
) -> None:
    if has_ended(experiment):
        if not _may_go_on(experiment, tally):
            return
        remove_condition(status, ["Succeeded"])
        status.pop("completionTime", None)
        message = "Experiment is restarted"
        _set(status, "Restarting", True, "ExperimentRestarting", message, now)
    verdict = _verdict(experiment, status, tally, suggestion)
    if verdict is None:
        if tally.total:
            # Restarting stays, as upstream: its SDK polls for it every 15 seconds.
            message = "Experiment is running"
            _set(status, "Running", True, "ExperimentRunning", message, now)
        return
    outcome, reason, message = verdict
    ran = condition({"status": status}, "Running")
    if ran is not None:
        _set(status, "Running", False, ran.reason, ran.message, now)
    _set(status, outcome, True, reason, message, now)
    status["completionTime"] = format_time(now)


def _may_go_on(experiment: Obj, tally: Tally) -> bool:
    """Whether a finished experiment was given more trials."""
    spec = experiment["spec"]
    succeeded = condition(experiment, "Succeeded")
    most = spec.get("maxTrialCount")
    return (
        succeeded is not None
        and succeeded.status == "True"
        and succeeded.reason == MAX_TRIALS_REACHED
        and spec.get("resumePolicy") in ("LongRunning", "FromVolume")
        and (most is None or most > tally.ended)
    )


def _verdict(
    experiment: Obj, status: Obj, tally: Tally, suggestion: Obj | None
) -> tuple[str, str, str] | None:
    """The outcome, its reason and a message, once there is one."""
    spec = experiment["spec"]
    if _goal_reached(spec["objective"], status):
        message = "Experiment has succeeded because Objective goal has reached"
        return "Succeeded", GOAL_REACHED, message
    allowed = spec.get("maxFailedTrialCount")
    if allowed is not None and tally.without_value and tally.without_value >= allowed:
        return "Failed", FAILED, _too_many_failures(tally)
    most = spec.get("maxTrialCount")
    if most is not None and tally.ended >= most:
        message = "Experiment has succeeded because max trial count has reached"
        return "Succeeded", MAX_TRIALS_REACHED, message
    if suggestion is None:
        return None
    failed = condition(suggestion, "Failed")
    if failed is not None and failed.status == "True":
        return "Failed", FAILED, f"Suggestion {name(suggestion)} has failed: {failed.message}"
    if _is_exhausted(suggestion) and not tally.active and tally.total >= _proposed(suggestion):
        message = "Experiment has succeeded because suggestion service has reached the end"
        return "Succeeded", END_REACHED, message
    return None


def _goal_reached(objective: Mapping[str, Any], status: Obj) -> bool:
    goal = objective.get("goal")
    best = (status.get("currentOptimalTrial") or {}).get("observation")
    value = strategy_value(objective, best)
    if goal is None or value is None:
        return False
    wanted = float(goal)
    return value <= wanted if objective.get("type") == "minimize" else value >= wanted


def _too_many_failures(tally: Tally) -> str:
    """Upstream's sentence, and what the first failed trial said."""
    first = tally.trials(TrialPhase.FAILED, TrialPhase.METRICS_UNAVAILABLE)[0]
    said = next(
        (
            c.get("message", "")
            for c in first["status"]["conditions"]
            if c.get("type") == phase_of(first).value
        ),
        "",
    )
    return (
        "Experiment has failed because max failed count has reached "
        f"({tally.without_value} trials); {name(first)}: {said}"
    )


def _is_exhausted(suggestion: Obj) -> bool:
    found = condition(suggestion, "Succeeded")
    return found is not None and found.status == "True" and found.reason == END_REACHED


def _proposed(suggestion: Obj) -> int:
    status = suggestion.get("status") or {}
    return int(status.get("suggestionCount") or len(status.get("suggestions") or ()))


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
