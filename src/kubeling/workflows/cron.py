"""What a CronWorkflow does at a given moment: a pure function of it, its Workflows and the time.

The Workflow of a scheduled time is named after it, so that a time that has been served is never
served again, whatever happens in between. Times missed while nobody watched are only made up for
within ``startingDeadlineSeconds``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kubeling.kube.objects import (
    Obj,
    format_time,
    name,
    namespace,
    new_object,
    parse_time,
    set_condition,
    uid,
)
from kubeling.workflows.cron_rules import moments, schedules, used_schedule
from kubeling.workflows.expressions import ExpressionError, conditions, exprlang
from kubeling.workflows.expressions.gotext import go_json
from kubeling.workflows.resources import WORKFLOWS
from kubeling.workflows.scope import Scope, Unresolved

__all__ = ["LABEL_CRON", "CronPlan", "fail_submission", "plan"]

LABEL_CRON: Final = "workflows.argoproj.io/cron-workflow"
_SCHEDULED: Final = "workflows.argoproj.io/scheduled-time"
_COMPLETED: Final = "cronworkflows.argoproj.io/completed"
_USED: Final = "cronworkflows.argoproj.io/last-used-schedule"
_FINAL: Final = ("Succeeded", "Failed", "Error")
_PUNCTUAL: Final = dt.timedelta(seconds=10)
"""How late a start may be without counting as missed."""


@dataclass(slots=True)
class CronPlan:
    """What to do, what to say, and when to look again.

    ``looked_at`` is the time that has been decided about, whatever came of it; ``annotations`` and
    ``labels`` are those that the CronWorkflow lacks.
    """

    status: Obj
    create: Obj | None = None
    terminate: list[str] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    next: dt.datetime | None = None
    looked_at: dt.datetime | None = None
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def plan(
    cron: Obj, workflows: Sequence[Obj], now: dt.datetime, looked_at: dt.datetime | None = None
) -> CronPlan:
    """Decides for one CronWorkflow, given the Workflows it owns.

    Times up to ``looked_at`` have been decided about.
    """
    spec = cron["spec"]
    active = [workflow for workflow in workflows if _phase(workflow) not in _FINAL]
    result = CronPlan(_status(cron, workflows, active), looked_at=looked_at)
    result.delete = [name(workflow) for workflow in _surplus(spec, workflows)]
    annotations = cron["metadata"].get("annotations") or {}
    is_new = annotations.get(_USED) != used_schedule(spec)
    if is_new:
        result.annotations[_USED] = used_schedule(spec)
    try:
        if _is_stopped(cron, result.status):
            result.status["phase"] = "Stopped"
            if (cron["metadata"].get("labels") or {}).get(_COMPLETED) != "true":
                result.labels[_COMPLETED] = "true"
        set_problem(result.status, "SpecError", "", now)
    except (ExpressionError, Unresolved) as error:
        result.problem = f"failed to check CronWorkflow '{name(cron)}' stopping condition: {error}"
        set_problem(result.status, "SpecError", result.problem, now)
        return result
    if spec.get("suspend") or result.status["phase"] == "Stopped":
        return result
    due, result.next = _times(cron, now, looked_at, is_new=is_new)
    if due is not None:
        result.looked_at = due
        try:
            _start(cron, due, active, result)
        except (ExpressionError, Unresolved) as error:
            fail_submission(result.status, f"run policy error: {error}", now)
            result.problem = str(error)
        else:
            if result.create is not None:
                set_problem(result.status, "SubmissionError", "", now)
    return result


def set_problem(status: Obj, kind: str, message: str, now: dt.datetime) -> None:
    """Sets a condition, or takes it away where there is no message."""
    if message:
        set_condition(status, kind, True, message=message, now=now)
    else:
        status["conditions"] = [c for c in status["conditions"] if c.get("type") != kind]


def fail_submission(status: Obj, message: str, now: dt.datetime) -> None:
    """Counts a Workflow that could not be started."""
    status["failed"] += 1
    set_problem(status, "SubmissionError", message, now)


def _start(cron: Obj, due: dt.datetime, active: list[Obj], result: CronPlan) -> None:
    spec = cron["spec"]
    policy = spec.get("concurrencyPolicy") or "Allow"
    if not _wanted(cron, result.status) or (active and policy == "Forbid"):
        return
    if policy == "Replace":
        result.terminate = [name(workflow) for workflow in active]
    result.create = _workflow(cron, due)
    result.status["lastScheduledTime"] = format_time(due)
    reference = {
        "apiVersion": WORKFLOWS.api_version,
        "kind": WORKFLOWS.kind,
        "name": name(result.create),
        "namespace": namespace(cron),
    }
    result.status["active"] = [*result.status["active"], reference]


def _wanted(cron: Obj, status: Obj) -> bool:
    """What ``when`` says."""
    when = cron["spec"].get("when")
    if not when:
        return True
    facts = _facts(cron, status)
    known = {f"cronworkflow.{key}": value for key, value in facts.items()}
    return conditions.evaluate(Scope(values=known).render(when))


def _workflow(cron: Obj, due: dt.datetime) -> Obj:
    metadata = cron["spec"].get("workflowMetadata") or {}
    return new_object(
        WORKFLOWS,
        f"{name(cron)}-{int(due.timestamp())}",
        namespace(cron),
        labels={**(metadata.get("labels") or {}), LABEL_CRON: name(cron)},
        annotations={**(metadata.get("annotations") or {}), _SCHEDULED: format_time(due)},
        owner=cron,
        spec=cron["spec"]["workflowSpec"],
    )


def _times(
    cron: Obj, now: dt.datetime, looked_at: dt.datetime | None, *, is_new: bool
) -> tuple[dt.datetime | None, dt.datetime | None]:
    """The latest time that is due and undecided, if any, and the next one to come.

    A schedule that has just been written makes up for nothing.
    """
    spec = cron["spec"]
    last = (cron.get("status") or {}).get("lastScheduledTime")
    begin = parse_time(last or cron["metadata"]["creationTimestamp"])
    allowed = dt.timedelta(seconds=0 if is_new else spec.get("startingDeadlineSeconds") or 0)
    earliest = max(begin, now - max(allowed, _PUNCTUAL), looked_at or begin)
    due: dt.datetime | None = None
    coming: list[dt.datetime] = []
    for schedule in schedules(spec):
        for moment in moments(schedule, spec, begin, earliest):
            if moment > now:
                coming.append(moment)
                break
            due = max(due or moment, moment)
    return due, min(coming, default=None)


def _status(cron: Obj, workflows: Sequence[Obj], active: list[Obj]) -> Obj:
    before = cron.get("status") or {}
    by_name = {name(workflow): workflow for workflow in workflows}
    ended = [
        _phase(by_name[entry["name"]])
        for entry in before.get("active") or ()
        if entry["name"] in by_name and _phase(by_name[entry["name"]]) in _FINAL
    ]
    good = ended.count("Succeeded")
    status: Obj = {
        "phase": "Stopped" if before.get("phase") == "Stopped" else "Active",
        "active": [
            {
                "apiVersion": WORKFLOWS.api_version,
                "kind": WORKFLOWS.kind,
                "name": name(workflow),
                "namespace": namespace(workflow),
                "uid": uid(workflow),
            }
            for workflow in active
        ],
        "succeeded": int(before.get("succeeded") or 0) + good,
        "failed": int(before.get("failed") or 0) + len(ended) - good,
        "conditions": [dict(condition) for condition in before.get("conditions") or ()],
    }
    if before.get("lastScheduledTime"):
        status["lastScheduledTime"] = before["lastScheduledTime"]
    return status


def _surplus(spec: Obj, workflows: Sequence[Obj]) -> Iterator[Obj]:
    """Finished Workflows beyond the history limits, oldest first to go."""
    ended = sorted(
        (workflow for workflow in workflows if _phase(workflow) in _FINAL),
        key=lambda workflow: str((workflow.get("status") or {}).get("finishedAt") or ""),
        reverse=True,
    )
    limits = (("successfulJobsHistoryLimit", 3, True), ("failedJobsHistoryLimit", 1, False))
    for key, default, good in limits:
        limit = spec.get(key)
        kept = default if limit is None else int(limit)
        yield from [w for w in ended if (_phase(w) == "Succeeded") is good][kept:]


def _is_stopped(cron: Obj, status: Obj) -> bool:
    if status["phase"] == "Stopped":
        return True
    expression = (cron["spec"].get("stopStrategy") or {}).get("expression")
    if not expression:
        return False
    facts = _facts(cron, status)
    environment = {"failed": facts["failed"], "succeeded": facts["succeeded"]}
    value = exprlang.evaluate(expression, {**environment, "cronworkflow": facts})
    if not isinstance(value, bool):
        raise ExpressionError(f"unable to cast expression result '{value}' to bool")
    return value


def _facts(cron: Obj, status: Obj) -> dict[str, Any]:
    """``cronworkflow.*``"""
    metadata = cron["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    last = status.get("lastScheduledTime")
    return {
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "labels": labels,
        "labels.json": go_json(labels),
        "annotations": annotations,
        "annotations.json": go_json(annotations),
        "failed": status["failed"],
        "succeeded": status["succeeded"],
        "lastScheduledTime": parse_time(last) if last else None,
    }


def _phase(workflow: Obj) -> str:
    return str((workflow.get("status") or {}).get("phase") or "")
