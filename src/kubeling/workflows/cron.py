"""What a CronWorkflow does at a given moment: a pure function of it, its Workflows and the time.

The Workflow of a scheduled time is named after it, so that a time that has been served is never
served again, whatever happens in between. Times missed while nobody watched are only made up for
within ``startingDeadlineSeconds``.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kubeling.kube.objects import Obj, format_time, name, namespace, new_object, parse_time, uid
from kubeling.workflows.cron_rules import schedules
from kubeling.workflows.expressions import ExpressionError, conditions, exprlang
from kubeling.workflows.resources import WORKFLOWS
from kubeling.workflows.scope import Scope, Unresolved

__all__ = ["LABEL_CRON", "CronPlan", "plan"]

LABEL_CRON: Final = "workflows.argoproj.io/cron-workflow"
_SCHEDULED: Final = "workflows.argoproj.io/scheduled-time"
_FINAL: Final = ("Succeeded", "Failed", "Error")
_PUNCTUAL: Final = dt.timedelta(seconds=10)
"""How late a start may be without counting as missed."""


@dataclass(slots=True)
class CronPlan:
    """What to do, what to say, and when to look again."""

    status: Obj
    create: Obj | None = None
    terminate: list[str] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    next: dt.datetime | None = None
    problem: str = ""


def plan(cron: Obj, workflows: Sequence[Obj], now: dt.datetime) -> CronPlan:
    """Decides for one CronWorkflow, given the Workflows it owns."""
    spec = cron["spec"]
    active = [workflow for workflow in workflows if _phase(workflow) not in _FINAL]
    result = CronPlan(_status(cron, workflows, active))
    result.delete = [name(workflow) for workflow in _surplus(spec, workflows)]
    try:
        stopped = _is_stopped(spec, result.status)
        if spec.get("suspend") or stopped:
            if stopped:
                result.status["phase"] = "Stopped"
            return result
        due, result.next = _times(cron, now)
        if due is not None:
            _start(cron, due, active, result)
    except (ExpressionError, Unresolved) as error:
        result.problem = str(error)
    return result


def _start(cron: Obj, due: dt.datetime, active: list[Obj], result: CronPlan) -> None:
    spec = cron["spec"]
    policy = spec.get("concurrencyPolicy") or "Allow"
    if active and policy == "Forbid":
        return
    if when := spec.get("when"):
        known = {f"cronworkflow.{k}": str(v) for k, v in _counts(result.status).items()}
        if not conditions.evaluate(Scope(values=known).render(when)):
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


def _times(cron: Obj, now: dt.datetime) -> tuple[dt.datetime | None, dt.datetime]:
    """The latest time that is due and unserved, if any, and the next one to come."""
    spec = cron["spec"]
    last = (cron.get("status") or {}).get("lastScheduledTime")
    begin = parse_time(last or cron["metadata"]["creationTimestamp"])
    allowed = dt.timedelta(seconds=spec.get("startingDeadlineSeconds") or 0)
    earliest = max(begin, now - max(allowed, _PUNCTUAL))
    zone = zoneinfo.ZoneInfo(spec.get("timezone") or "UTC")
    due: dt.datetime | None = None
    coming: list[dt.datetime] = []
    for schedule in schedules(spec):
        for moment in _moments(schedule, earliest.astimezone(zone)):
            if moment > now:
                coming.append(moment)
                break
            due = max(due or moment, moment)
    return due, min(coming)


def _moments(schedule: str, after: dt.datetime) -> Iterator[dt.datetime]:
    from croniter import croniter

    times = croniter(schedule, after)
    while True:
        yield times.get_next(dt.datetime).astimezone(dt.UTC)


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
        "phase": "Active",
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


def _is_stopped(spec: Obj, status: Obj) -> bool:
    expression = (spec.get("stopStrategy") or {}).get("expression")
    if not expression:
        return False
    counts = _counts(status)
    return exprlang.evaluate(expression, {**counts, "cronworkflow": counts}) is True


def _counts(status: Obj) -> dict[str, Any]:
    last = status.get("lastScheduledTime")
    return {
        "succeeded": status["succeeded"],
        "failed": status["failed"],
        "lastScheduledTime": last or "",
    }


def _phase(workflow: Obj) -> str:
    return str((workflow.get("status") or {}).get("phase") or "")
