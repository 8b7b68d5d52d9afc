"""A TrainJob's status, from the Jobs that run it.

The condition list stays empty until the job is suspended or has ended: the SDK works out
"Running" by itself, and only while there is no condition at all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

from kubeling.kube.objects import (
    Obj,
    deep_copy,
    is_condition_true,
    labels,
    name,
    parse_time,
    remove_condition,
    set_condition,
)
from kubeling.training.observation import first_failure
from kubeling.training.trainer.render import REPLICATED_JOB

__all__ = ["NOT_SUPPORTED", "deadline_left", "failed_status", "has_ended", "status_of"]

NOT_SUPPORTED: Final = "TrainingRuntimeNotSupported"


def has_ended(train_job: Obj) -> bool:
    """Whether the job completed or failed for good."""
    return is_condition_true(train_job, "Complete") or (
        is_condition_true(train_job, "Failed") and not _lacks_runtime(train_job)
    )


def status_of(
    train_job: Obj,
    wanted: Mapping[str, int],
    jobs: Sequence[Obj],
    now: dt.datetime,
    pods: Sequence[Obj] = (),
) -> Obj:
    """The status; ``wanted`` names the replicated jobs and how many Jobs each has.

    ``pods`` only add to the words in which a failure is told.
    """
    status: Obj = deep_copy(train_job.get("status") or {})
    if _lacks_runtime(train_job):
        remove_condition(status, ["Failed"])
    status["jobsStatus"] = [_counts(group, jobs) for group in wanted]
    _suspension(train_job, status, now)
    failed = next((job for job in jobs if is_condition_true(job, "Failed")), None)
    if failed is not None:
        why = f"job {name(failed)} failed: {_failure(failed)}"
        if details := first_failure(pods):
            why = f"{why}; {details}"
        set_condition(status, "Failed", True, reason="FailedJobs", message=why, now=now)
    elif jobs and sum(is_condition_true(job, "Complete") for job in jobs) >= sum(wanted.values()):
        text = "all jobs completed successfully"
        set_condition(status, "Complete", True, reason="AllJobsCompleted", message=text, now=now)
    elif deadline_left(train_job, now) == 0:
        text = "the TrainJob was active longer than spec.activeDeadlineSeconds"
        set_condition(status, "Failed", True, reason="DeadlineExceeded", message=text, now=now)
    if not status.get("conditions"):
        status.pop("conditions", None)
    return status


def failed_status(train_job: Obj, why: str, now: dt.datetime) -> Obj:
    """The status of a job whose runtime is missing or cannot be used (until it can)."""
    status: Obj = deep_copy(train_job.get("status") or {})
    set_condition(status, "Failed", True, reason=NOT_SUPPORTED, message=why, now=now)
    return status


def deadline_left(train_job: Obj, now: dt.datetime) -> float | None:
    """Seconds until the deadline, counted from creation or the last resumption."""
    seconds = train_job["spec"].get("activeDeadlineSeconds")
    if not seconds or train_job["spec"].get("suspend"):
        return None
    started = train_job["metadata"].get("creationTimestamp")
    for entry in (train_job.get("status") or {}).get("conditions") or ():
        if entry.get("type") == "Suspended" and entry.get("status") == "False":
            started = entry.get("lastTransitionTime") or started
    if started is None:
        return float(seconds)
    return max(0.0, float(seconds) - (now - parse_time(started)).total_seconds())


def _lacks_runtime(train_job: Obj) -> bool:
    return any(
        c.get("type") == "Failed" and c.get("reason") == NOT_SUPPORTED
        for c in (train_job.get("status") or {}).get("conditions") or ()
    )


def _suspension(train_job: Obj, status: Obj, now: dt.datetime) -> None:
    if train_job["spec"].get("suspend"):
        text = "the TrainJob is suspended"
        set_condition(status, "Suspended", True, reason="Suspended", message=text, now=now)
    elif any(c.get("type") == "Suspended" for c in status.get("conditions") or ()):
        text = "the TrainJob is resumed"
        set_condition(status, "Suspended", False, reason="Resumed", message=text, now=now)


def _counts(group: str, jobs: Sequence[Obj]) -> Obj:
    """The Jobs of one group by state, as a JobSet counts them."""
    counts = {"ready": 0, "succeeded": 0, "failed": 0, "active": 0, "suspended": 0}
    for job in jobs:
        if labels(job).get(REPLICATED_JOB) != group:
            continue
        state = job.get("status") or {}
        expected = int(job["spec"].get("parallelism") or 1)
        if is_condition_true(job, "Complete"):
            counts["succeeded"] += 1
        elif is_condition_true(job, "Failed"):
            counts["failed"] += 1
        elif job["spec"].get("suspend"):
            counts["suspended"] += 1
        elif int(state.get("active") or 0) > 0:
            counts["active"] += 1
            ready = int(state.get("ready") or 0) + int(state.get("succeeded") or 0)
            counts["ready"] += ready >= expected
    return {"name": group, **counts}


def _failure(job: Obj) -> str:
    for entry in (job.get("status") or {}).get("conditions") or ():
        if entry.get("type") == "Failed":
            return str(entry.get("message") or entry.get("reason") or "")
    return ""
