"""A TrainJob's status, from the JobSet that runs it. Pure.

The condition list stays empty until the job is suspended or has ended: the SDK works out
"Running" by itself, and only while there is no condition at all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from kubeling.kube.objects import (
    Obj,
    deep_copy,
    is_condition_true,
    labels,
    parse_time,
    remove_condition,
    set_condition,
)
from kubeling.training.jobset.objects import REPLICATED_JOB
from kubeling.training.observation import phase
from kubeling.training.trainer.template import LAUNCHER, NODE

__all__ = ["NOT_SUPPORTED", "deadline_left", "has_ended", "refused_status", "status_of"]

NOT_SUPPORTED: Final = "TrainingRuntimeNotSupported"


def has_ended(train_job: Obj) -> bool:
    """Whether the job completed or failed for good."""
    return is_condition_true(train_job, "Complete") or (
        is_condition_true(train_job, "Failed") and not _lacks_runtime(train_job)
    )


def status_of(train_job: Obj, jobset: Obj | None, pods: Sequence[Obj], now: dt.datetime) -> Obj:
    """The status; ``pods`` are those of the JobSet."""
    status: Obj = deep_copy(train_job.get("status") or {})
    if _lacks_runtime(train_job):
        remove_condition(status, ["Failed"])
    _suspension(train_job, status, now)
    if jobset is not None:
        _outcome(jobset, status, now)
        counts = (jobset.get("status") or {}).get("replicatedJobsStatus")
        if counts:
            status["jobsStatus"] = deep_copy(counts)
    seen = {**train_job, "status": status}
    if not has_ended(seen) and deadline_left(seen, now) == 0:
        text = "TrainJob exceeded its active deadline"
        set_condition(status, "Failed", True, reason="DeadlineExceeded", message=text, now=now)
    if not status.get("conditions"):
        status.pop("conditions", None)
    status["phase"] = _phase(train_job, status, pods)
    return status


def refused_status(train_job: Obj, why: str, now: dt.datetime) -> Obj:
    """The status of a job whose runtime is missing or cannot be used (until it can)."""
    status: Obj = deep_copy(train_job.get("status") or {})
    set_condition(status, "Failed", True, reason=NOT_SUPPORTED, message=why, now=now)
    status["phase"] = "Failed"
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
        text = "TrainJob is suspended"
        set_condition(status, "Suspended", True, reason="Suspended", message=text, now=now)
    elif any(c.get("type") == "Suspended" for c in status.get("conditions") or ()):
        text = "TrainJob is resumed"
        set_condition(status, "Suspended", False, reason="Resumed", message=text, now=now)


def _outcome(jobset: Obj, status: Obj, now: dt.datetime) -> None:
    """The JobSet's end, in its words, is the TrainJob's."""
    for entry in (jobset.get("status") or {}).get("conditions") or ():
        ours = {"Completed": "Complete", "Failed": "Failed"}.get(entry["type"])
        if ours and entry["status"] == "True":
            reason, message = entry.get("reason", ""), entry.get("message", "")
            set_condition(status, ours, True, reason=reason, message=message, now=now)


def _phase(train_job: Obj, status: Obj, pods: Sequence[Obj]) -> str:
    """One word for all of it; running means what the SDK means by it: every node runs."""
    for ended in ("Complete", "Failed"):
        if is_condition_true({"status": status}, ended):
            return ended
    if train_job["spec"].get("suspend"):
        return "Suspended"
    nodes = [pod for pod in pods if labels(pod).get(REPLICATED_JOB) in (NODE, LAUNCHER)]
    up = all(phase(pod) in ("Running", "Succeeded") for pod in nodes)
    return "Running" if nodes and up else "Created"
