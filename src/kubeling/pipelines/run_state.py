"""A run's state, derived from its tasks in one place. Pure.

A terminated run ends FAILED: the SDK's waits know no CANCELED and would wait for ever.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any, Final

from kubeling.kube.objects import Obj, format_time, set_condition
from kubeling.pipelines.execution import Execution
from kubeling.pipelines.kubernetes import seconds_to_keep
from kubeling.pipelines.records import FINAL_STATES, RunRecord

__all__ = ["next_record", "run_status"]

_TERMINATED: Final = "terminated by the user"


def next_record(record: RunRecord, execution: Execution, now: dt.datetime) -> RunRecord:
    """The run's record after what the execution did."""
    state, error = _state(execution)
    if state == record.state and error == record.error:
        return record
    history = record.state_history
    if state != record.state:
        stamp = now.isoformat().replace("+00:00", "Z")
        entry: dict[str, Any] = {"update_time": stamp, "state": state}
        if error:
            entry["error"] = {"code": 13, "message": error}
        history = [*history, entry]
    return replace(
        record,
        state=state,
        error=error,
        state_history=history,
        finished_at=now if state in FINAL_STATES else None,
    )


def run_status(
    before: Obj, record: RunRecord, execution: Execution | None, run_id: str, now: dt.datetime
) -> Obj:
    """The Run object's status; ``execution`` is ``None`` for a run that could not begin."""
    status: Obj = {
        "state": record.state,
        "runID": run_id,
        "message": record.error,
        "tasks": _progress(execution) if execution else "0/0",
        "retries": record.epoch,
        "stateHistory": [
            {"state": entry["state"], "updateTime": entry["update_time"]}
            for entry in record.state_history
        ],
        "conditions": [dict(c) for c in before.get("conditions") or ()],
    }
    root = execution.nodes.get("") if execution else None
    if root is not None and root.started_at is not None:
        status["startedAt"] = format_time(root.started_at)
    status["finishedAt"] = format_time(record.finished_at) if record.finished_at else None
    status["expiresAt"] = _expiry(record, execution)
    _conditions(status, record, now)
    return status


def _expiry(record: RunRecord, execution: Execution | None) -> str | None:
    """When the object goes; what is known of the run stays."""
    if record.finished_at is None or execution is None:
        return None
    seconds = seconds_to_keep(execution.platform, record.state)
    return format_time(record.finished_at + dt.timedelta(seconds=seconds)) if seconds else None


def _conditions(status: Obj, record: RunRecord, now: dt.datetime) -> None:
    reason = record.state.capitalize()
    ended = record.state in FINAL_STATES
    outcomes = {
        "Running": not ended and record.state != "PENDING",
        "Succeeded": record.state == "SUCCEEDED",
        "Failed": record.state == "FAILED",
    }
    for kind, value in outcomes.items():
        message = record.error if kind == "Failed" and value else ""
        set_condition(status, kind, value, reason=reason, message=message, now=now)


def _state(execution: Execution) -> tuple[str, str]:
    root = execution.nodes.get("")
    if root is None:
        return "PENDING", ""
    if not root.final:
        return ("CANCELING" if execution.terminating else "RUNNING"), ""
    if root.state == "SUCCEEDED":
        return "SUCCEEDED", ""
    message = root.error.message if root.error else ""
    if execution.overdue:
        message = f"activeDeadlineSeconds: it took longer than {execution.facts.deadline_seconds} s"
    elif execution.terminating or root.state == "CANCELED":
        message = _TERMINATED
    return "FAILED", message


def _progress(execution: Execution) -> str:
    """How many of the leaves known so far have ended, as ``3/5``."""
    return f"{execution.frontier.leaves_ended}/{execution.frontier.leaves}"
