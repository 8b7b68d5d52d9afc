"""What to do next for a Job, and what its status is. Pure.

Succeeded and failed pods are counted from the pods that exist and never counted back: indexes that
have completed stay completed, and the numbers of the last status are a floor. Upstream holds every
pod with a finalizer for the same purpose; here nothing can be left stuck by a stopped controller.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kubeling.engine.workloads.indexes import format_indexes, parse_indexes
from kubeling.engine.workloads.job_failure import FailureVerdict, judge_failures
from kubeling.engine.workloads.podstate import is_active, is_ready, phase
from kubeling.kube import objects
from kubeling.kube.objects import (
    Obj,
    deep_copy,
    deletion_requested,
    format_time,
    is_condition_true,
    parse_time,
    set_condition,
)

__all__ = ["INDEX", "JobPlan", "finished_at", "index_of", "plan"]

INDEX: Final = "batch.kubernetes.io/job-completion-index"
_FIRST_BACKOFF: Final = 10.0
_LONGEST_BACKOFF: Final = 600.0


@dataclass(slots=True)
class JobPlan:
    """Pods to delete, how many to create (or at which indexes), the status, when to look again."""

    status: Obj
    delete: list[Obj] = field(default_factory=list)
    create: int = 0
    create_at: list[int] = field(default_factory=list)
    requeue_after: float | None = None
    events: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Facts:
    """A Job and its pods, sorted."""

    job: Obj
    active: tuple[Obj, ...]
    succeeded: tuple[Obj, ...]
    failed: tuple[Obj, ...]
    going: tuple[Obj, ...]
    now: dt.datetime

    @property
    def spec(self) -> Obj:
        spec: Obj = self.job["spec"]
        return spec

    @property
    def before(self) -> Obj:
        return self.job.get("status") or {}

    @property
    def indexed(self) -> bool:
        return bool(self.spec.get("completionMode") == "Indexed")

    @property
    def completions(self) -> int | None:
        value = self.spec.get("completions")
        return None if value is None else int(value)

    @property
    def parallelism(self) -> int:
        return int(self.spec.get("parallelism", 1))

    @property
    def done_indexes(self) -> set[int]:
        known = set(parse_indexes(self.before.get("completedIndexes") or ""))
        fresh = {index_of(pod) for pod in self.succeeded}
        limit = self.completions or 0
        return {index for index in known | fresh if index is not None and index < limit}

    @property
    def succeeded_count(self) -> int:
        if self.indexed:
            return len(self.done_indexes)
        return max(len(self.succeeded), int(self.before.get("succeeded") or 0))

    @property
    def failed_count(self) -> int:
        return max(len(self.failed), int(self.before.get("failed") or 0))


def index_of(pod: Obj) -> int | None:
    """The completion index of an Indexed Job's pod."""
    value = objects.annotations(pod).get(INDEX)
    return int(value) if value is not None and value.isdigit() else None


def finished_at(job: Obj) -> dt.datetime | None:
    """When the Job completed or failed, if it did."""
    for entry in (job.get("status") or {}).get("conditions") or ():
        if entry["type"] in ("Complete", "Failed") and entry["status"] == "True":
            return parse_time(entry["lastTransitionTime"])
    return None


def plan(job: Obj, pods: Sequence[Obj], now: dt.datetime) -> JobPlan:
    """What to do for a Job that has not finished; ``pods`` are all it owns."""
    facts = _facts(job, pods, now)
    todo = JobPlan(deep_copy(facts.before))
    status = todo.status
    failed_indexes: set[int] = set()
    verdict = _verdict(facts)
    if facts.spec.get("suspend"):
        _suspend(facts, todo)
    else:
        _resume(facts, todo)
        if verdict is not None and verdict.failed_indexes:
            failed_indexes = set(verdict.failed_indexes)
    _count(facts, status, failed_indexes)
    if facts.spec.get("suspend"):
        return todo
    if _settle(facts, todo, verdict):
        return todo
    _replenish(facts, todo, failed_indexes)
    _watch_deadline(facts, todo)
    return todo


def _facts(job: Obj, pods: Iterable[Obj], now: dt.datetime) -> _Facts:
    active, succeeded, failed, going = [], [], [], []
    for pod in pods:
        if phase(pod) == "Succeeded":
            succeeded.append(pod)
        elif phase(pod) == "Failed":
            failed.append(pod)
        elif deletion_requested(pod):
            going.append(pod)
        elif is_active(pod):
            active.append(pod)
    return _Facts(job, tuple(active), tuple(succeeded), tuple(failed), tuple(going), now)


def _suspend(facts: _Facts, todo: JobPlan) -> None:
    todo.delete = list(facts.active)
    todo.status.pop("startTime", None)
    if set_condition(
        todo.status,
        "Suspended",
        True,
        reason="JobSuspended",
        message="Job suspended",
        now=facts.now,
    ):
        todo.events.append(("Normal", "Suspended", "Job suspended"))


def _resume(facts: _Facts, todo: JobPlan) -> None:
    status = todo.status
    if is_condition_true(facts.job, "Suspended"):
        set_condition(
            status,
            "Suspended",
            False,
            reason="JobResumed",
            message="Job resumed",
            now=facts.now,
        )
        todo.events.append(("Normal", "Resumed", "Job resumed"))
    status.setdefault("startTime", format_time(facts.now))


def _count(facts: _Facts, status: Obj, failed_indexes: set[int]) -> None:
    status["ready"] = sum(map(is_ready, facts.active))
    status["terminating"] = len(facts.going)
    status.setdefault("uncountedTerminatedPods", {})
    counts: dict[str, Any] = {
        "active": 0 if facts.spec.get("suspend") else len(facts.active),
        "succeeded": facts.succeeded_count,
        "failed": facts.failed_count,
    }
    if facts.indexed:
        counts["completedIndexes"] = format_indexes(facts.done_indexes)
    if facts.spec.get("backoffLimitPerIndex") is not None:
        counts["failedIndexes"] = format_indexes(failed_indexes)
    for key, value in counts.items():
        if value:
            status[key] = value
        else:
            status.pop(key, None)


def _verdict(facts: _Facts) -> FailureVerdict | None:
    started = facts.before.get("startTime")
    deadline = facts.spec.get("activeDeadlineSeconds")
    if started and deadline is not None:
        used = (facts.now - parse_time(started)).total_seconds()
        if used >= float(deadline):
            message = "Job was active longer than specified deadline"
            return FailureVerdict("DeadlineExceeded", message)
    return judge_failures(
        facts.spec, facts.failed, facts.active, facts.failed_count, facts.done_indexes, index_of
    )


def _settle(facts: _Facts, todo: JobPlan, verdict: FailureVerdict | None) -> bool:
    """Ends the Job if it has failed or completed; returns whether it did."""
    if verdict is not None and verdict.reason:
        todo.delete = list(facts.active)
        _end(facts, todo, "FailureTarget", "Failed", verdict.reason, verdict.message, "Warning")
        return True
    if _complete(facts):
        todo.delete = list(facts.active)
        _end(facts, todo, "SuccessCriteriaMet", "Complete", *_success(facts), "Normal")
        return True
    return False


def _end(
    facts: _Facts,
    todo: JobPlan,
    target: str,
    final: str,
    reason: str,
    message: str,
    severity: str,
) -> None:
    """Says at once that the Job will end, and that it has ended when no pod runs any more."""
    set_condition(todo.status, target, True, reason=reason, message=message, now=facts.now)
    if facts.active or facts.going:
        return
    set_condition(todo.status, final, True, reason=reason, message=message, now=facts.now)
    if final == "Complete":
        todo.status["completionTime"] = format_time(facts.now)
        todo.events.append((severity, "Completed", "Job completed"))
    else:
        todo.events.append((severity, reason, message))


def _success(facts: _Facts) -> tuple[str, str]:
    if facts.spec.get("successPolicy") and facts.succeeded_count != facts.completions:
        return "SuccessPolicy", "Matched rules at index 0"
    return "CompletionsReached", "Reached expected number of succeeded pods"


def _complete(facts: _Facts) -> bool:
    if is_condition_true(facts.job, "SuccessCriteriaMet"):
        return True
    if facts.completions is None:
        # A work queue: one success says the queue is empty; the others finish what they have.
        return facts.succeeded_count > 0 and not facts.active and not facts.going
    if facts.succeeded_count >= facts.completions:
        return True
    return facts.indexed and _policy_met(facts)


def _policy_met(facts: _Facts) -> bool:
    for rule in (facts.spec.get("successPolicy") or {}).get("rules") or ():
        wanted = rule.get("succeededIndexes")
        among = facts.done_indexes & set(parse_indexes(wanted)) if wanted else facts.done_indexes
        needed = rule.get("succeededCount")
        if needed is None:
            needed = len(set(parse_indexes(wanted or "")))
        if needed and len(among) >= int(needed):
            return True
    return False


def _replenish(facts: _Facts, todo: JobPlan, failed_indexes: set[int]) -> None:
    running = len(facts.active)
    waiting = facts.going if facts.spec.get("podReplacementPolicy") == "Failed" else ()
    if facts.completions is None:
        wanted = running if facts.succeeded_count else facts.parallelism
    else:
        left = facts.completions - facts.succeeded_count - len(failed_indexes)
        wanted = min(facts.parallelism, left)
    missing = wanted - running - len(waiting)
    if missing < 0:
        todo.delete = list(facts.active)[:-missing]
        return
    if missing and (wait := _backoff(facts)) > 0:
        todo.requeue_after = wait
        return
    if facts.indexed:
        todo.create_at = _free_indexes(facts, failed_indexes)[:missing]
    else:
        todo.create = missing


def _free_indexes(facts: _Facts, failed_indexes: set[int]) -> list[int]:
    taken = facts.done_indexes | failed_indexes
    taken |= {index for pod in facts.active if (index := index_of(pod)) is not None}
    return [index for index in range(facts.completions or 0) if index not in taken]


def _backoff(facts: _Facts) -> float:
    """Seconds until a pod may follow the failed ones; each failure in a row doubles the wait."""
    last_success = max((_end_of(pod) for pod in facts.succeeded), default=None)
    recent = [
        ended
        for pod in facts.failed
        if (ended := _end_of(pod)) and (last_success is None or ended > last_success)
    ]
    if not recent:
        return 0.0
    wait = min(_FIRST_BACKOFF * 2.0 ** (len(recent) - 1), _LONGEST_BACKOFF)
    return wait - (facts.now - max(recent)).total_seconds()


def _end_of(pod: Obj) -> dt.datetime:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    ends = [
        parse_time(ended)
        for status in statuses
        if (ended := ((status.get("state") or {}).get("terminated") or {}).get("finishedAt"))
    ]
    return max(ends, default=parse_time(pod["metadata"]["creationTimestamp"]))


def _watch_deadline(facts: _Facts, todo: JobPlan) -> None:
    deadline = facts.spec.get("activeDeadlineSeconds")
    if deadline is None:
        return
    used = (facts.now - parse_time(todo.status["startTime"])).total_seconds()
    left = max(0.0, float(deadline) - used)
    todo.requeue_after = min(left, todo.requeue_after or left)
