"""What to do next for a Job. Pure.

As upstream's ``syncJob``: an outcome that was decided stands; else failures are judged before
successes; only a Job without an outcome gets pods. Failures and restarts are read from the pods
themselves, which stay until their Job goes, so nothing has to be remembered between looks.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from kubeling.engine.workloads.indexes import format_indexes, parse_indexes
from kubeling.engine.workloads.job_failure import (
    counts_as_failure,
    failed_indexes,
    job_failure_message,
    past_restart_limit,
)
from kubeling.engine.workloads.job_pods import (
    finished_time,
    has_failed,
    index_of,
    is_terminating,
    is_tracked,
    replaces_only_failed,
    tries_of,
)
from kubeling.engine.workloads.job_status import Outcome, ensure_condition, outcome_so_far, settle
from kubeling.engine.workloads.podstate import is_active, is_ready, phase, worth
from kubeling.kube.objects import Obj, deep_copy, format_time, parse_time, uid

__all__ = ["JobPlan", "count", "plan"]

_FIRST_BACKOFF: Final = 10.0
_LONGEST_BACKOFF: Final = 600.0
_MOST_AT_ONCE: Final = 500


@dataclass(slots=True)
class JobPlan:
    """What to do, in this order: delete and create pods, write the status, release pods.

    ``delete`` keeps the pods' finalizers, so that they are counted; ``discard`` does not.
    ``create_at`` are indexes, with how often each had failed before.
    """

    status: Obj
    outcome: Outcome | None = None
    delete: list[Obj] = field(default_factory=list)
    discard: list[Obj] = field(default_factory=list)
    create: int = 0
    create_at: dict[int, tuple[int, int] | None] = field(default_factory=dict)
    release: list[Obj] = field(default_factory=list)
    more_to_release: bool = False
    requeue_after: float | None = None
    events: list[tuple[str, str, str]] = field(default_factory=list)

    def look_again(self, seconds: float) -> None:
        """Asks to be called again after so many seconds, or sooner."""
        self.requeue_after = min(seconds, self.requeue_after or seconds)


@dataclass(frozen=True)
class _Facts:
    """A Job and its pods; ``released`` are uids whose finalizer is known to be gone."""

    job: Obj
    pods: Sequence[Obj]
    now: dt.datetime
    released: frozenset[str] = frozenset()

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
    def suspended(self) -> bool:
        return bool(self.spec.get("suspend"))

    @property
    def completions(self) -> int | None:
        value = self.spec.get("completions")
        return None if value is None else int(value)

    @property
    def per_index(self) -> bool:
        return self.indexed and self.spec.get("backoffLimitPerIndex") is not None

    @cached_property
    def active(self) -> list[Obj]:
        return [pod for pod in self.pods if is_active(pod)]

    @cached_property
    def tracked(self) -> list[Obj]:
        return [p for p in self.pods if is_tracked(p) and uid(p) not in self.released]

    @cached_property
    def uncounted(self) -> dict[str, list[str]]:
        noted = self.before.get("uncountedTerminatedPods") or {}
        return {field_: list(noted.get(field_) or ()) for field_ in ("succeeded", "failed")}

    def is_valid(self, pod: Obj) -> bool:
        """Whether the pod's index is one of the Job's."""
        if not self.indexed:
            return True
        index = index_of(pod)
        return index is not None and index < (self.completions or 0)

    @cached_property
    def known_indexes(self) -> set[int]:
        limit = self.completions or 0
        known = parse_indexes(self.before.get("completedIndexes") or "")
        return {index for index in known if index < limit}

    @cached_property
    def done_indexes(self) -> set[int]:
        fresh = {index_of(p) for p in self.tracked if phase(p) == "Succeeded" and self.is_valid(p)}
        return self.known_indexes | {index for index in fresh if index is not None}

    @cached_property
    def failed_indexes(self) -> set[int]:
        if not self.per_index:
            return set()
        limit = self.completions or 0
        known = set(parse_indexes(self.before.get("failedIndexes") or ""))
        known |= failed_indexes(self.spec, self.tracked)
        return {index for index in known if index < limit}

    @cached_property
    def succeeded(self) -> int:
        if self.indexed:
            return len(self.done_indexes)
        noted = self.uncounted["succeeded"]
        fresh = [p for p in self.tracked if phase(p) == "Succeeded" and uid(p) not in noted]
        return int(self.before.get("succeeded") or 0) + len(noted) + len(fresh)

    @cached_property
    def failed(self) -> int:
        noted = self.uncounted["failed"]
        fresh = [
            pod
            for pod in self.tracked
            if has_failed(self.spec, pod)
            and uid(pod) not in noted
            and self.is_valid(pod)
            and counts_as_failure(self.spec, pod)
        ]
        return int(self.before.get("failed") or 0) + len(noted) + len(fresh)

    @cached_property
    def awaiting(self) -> dict[int, Obj]:
        """The last failed pod of each index that is to be tried again."""
        found: dict[int, Obj] = {}
        if not self.per_index:
            return found
        busy = {index_of(pod) for pod in self.active} | self.done_indexes | self.failed_indexes
        for pod in self.tracked:
            index = index_of(pod)
            if index is None or index in busy or not self.is_valid(pod):
                continue
            if has_failed(self.spec, pod):
                held = found.get(index)
                if held is None or (sum(tries_of(held)), finished_time(held)) <= (
                    sum(tries_of(pod)),
                    finished_time(pod),
                ):
                    found[index] = pod
        return found


def plan(
    job: Obj, pods: Sequence[Obj], now: dt.datetime, released: frozenset[str] = frozenset()
) -> JobPlan:
    """What to do for a Job that has not finished; ``pods`` are all it owns."""
    facts = _Facts(job, pods, now, released)
    todo = JobPlan(deep_copy(facts.before))
    todo.status.setdefault("uncountedTerminatedPods", {})
    settle(todo.status, {uid(pod) for pod in facts.tracked})
    if not facts.suspended:
        todo.status.setdefault("startTime", format_time(now))
    todo.outcome = _outcome(facts, todo)
    if todo.outcome is not None:
        todo.delete = list(facts.active)
    else:
        _manage(facts, todo)
        _judge_completions(facts, todo)
    count(todo.status, pods)
    _track(facts, todo)
    return todo


def count(status: Obj, pods: Sequence[Obj]) -> None:
    """The numbers of pods that have not ended."""
    active = [pod for pod in pods if is_active(pod)]
    status["ready"] = sum(map(is_ready, active))
    status["terminating"] = sum(map(is_terminating, pods))
    _number(status, "active", len(active))


def _number(status: Obj, key: str, value: Any) -> None:
    if value:
        status[key] = value
    else:
        status.pop(key, None)


# --- the outcome -----------------------------------------------------------------------------


def _outcome(facts: _Facts, todo: JobPlan) -> Outcome | None:
    if (decided := outcome_so_far(facts.before)) is not None:
        return decided
    spec = facts.spec
    if message := job_failure_message(spec, facts.pods):
        return Outcome(False, "PodFailurePolicy", message)
    if facts.failed > int(spec.get("backoffLimit", 6)) or past_restart_limit(spec, facts.pods):
        message = "Job has reached the specified backoff limit"
        return Outcome(False, "BackoffLimitExceeded", message)
    if _past_deadline(facts, todo):
        message = "Job was active longer than specified deadline"
        return Outcome(False, "DeadlineExceeded", message)
    return _outcome_by_index(facts) if facts.indexed else None


def _past_deadline(facts: _Facts, todo: JobPlan) -> bool:
    deadline = facts.spec.get("activeDeadlineSeconds")
    if deadline is None or facts.suspended:
        return False
    left = float(deadline)
    if started := facts.before.get("startTime"):
        left -= (facts.now - parse_time(started)).total_seconds()
    if left > 0:
        todo.look_again(left)
    return left <= 0


def _outcome_by_index(facts: _Facts) -> Outcome | None:
    lost, most = facts.failed_indexes, facts.spec.get("maxFailedIndexes")
    if most is not None and len(lost) > int(most):
        message = "Job has exceeded the specified maximal number of failed indexes"
        return Outcome(False, "MaxFailedIndexesExceeded", message)
    if lost and len(lost) + len(facts.done_indexes) >= (facts.completions or 0):
        return Outcome(False, "FailedIndexes", "Job has failed indexes")
    rules = (facts.spec.get("successPolicy") or {}).get("rules") or ()
    for number, rule in enumerate(rules):
        if _succeeds(rule, facts.done_indexes):
            return Outcome(True, "SuccessPolicy", f"Matched rules at index {number}")
    return None


def _succeeds(rule: Obj, done: set[int]) -> bool:
    needed, listed = rule.get("succeededCount"), rule.get("succeededIndexes")
    if not done:
        return False
    if listed is None:
        return needed is not None and len(done) >= int(needed)
    wanted = set(parse_indexes(listed))
    among = len(done & wanted)
    return bool(wanted) and (among == len(wanted) or (needed is not None and among >= int(needed)))


def _judge_completions(facts: _Facts, todo: JobPlan) -> None:
    left = len(facts.active) - len(todo.discard) + todo.create + len(todo.create_at)
    if facts.completions is None:
        # A work queue: one success says the queue is empty; the others finish what they have.
        complete = facts.succeeded > 0 and left == 0
    else:
        complete = facts.succeeded >= facts.completions and left == 0
    if complete:
        message = "Reached expected number of succeeded pods"
        todo.outcome = Outcome(True, "CompletionsReached", message)
    elif facts.suspended:
        if ensure_condition(
            todo.status, "Suspended", "True", "JobSuspended", "Job suspended", facts.now
        ):
            todo.status.pop("startTime", None)
            todo.events.append(("Normal", "Suspended", "Job suspended"))
    elif ensure_condition(
        todo.status, "Suspended", "False", "JobResumed", "Job resumed", facts.now
    ):  # fmt: skip
        todo.status["startTime"] = format_time(facts.now)
        todo.events.append(("Normal", "Resumed", "Job resumed"))


# --- pods ------------------------------------------------------------------------------------


def _manage(facts: _Facts, todo: JobPlan) -> None:
    if facts.suspended:
        todo.discard = list(facts.active)
        return
    wanted = _wanted(facts)
    todo.discard = _surplus(facts, len(facts.active) - wanted)[:_MOST_AT_ONCE]
    if todo.discard:
        # One thing at a time: what is missing is made when what is too much has gone.
        return
    missing = wanted - len(facts.active)
    if replaces_only_failed(facts.spec):
        missing -= sum(map(is_terminating, facts.pods))
    missing = min(missing, _MOST_AT_ONCE)
    if missing <= 0:
        return
    if not facts.per_index and (wait := _backoff(facts)) > 0:
        todo.look_again(wait)
    elif facts.indexed:
        _fill_indexes(facts, todo, missing)
    else:
        todo.create = missing


def _wanted(facts: _Facts) -> int:
    parallelism = int(facts.spec.get("parallelism", 1))
    if facts.completions is None:
        return len(facts.active) if facts.succeeded else parallelism
    return max(0, min(parallelism, facts.completions - facts.succeeded))


def _surplus(facts: _Facts, excess: int) -> list[Obj]:
    """What is too much: pods of no index, of the same index, then those that have done least."""
    if not facts.indexed:
        return sorted(facts.active, key=worth)[: max(0, excess)]
    surplus: list[Obj] = []
    left: list[Obj] = []
    by_index: dict[int | None, list[Obj]] = {}
    for pod in facts.active:
        index = index_of(pod) if facts.is_valid(pod) else None
        by_index.setdefault(index, []).append(pod)
    for index, same in by_index.items():
        best = sorted(same, key=worth)
        surplus += best if index is None else best[:-1]
        left += [] if index is None else best[-1:]
    return [*surplus, *sorted(left, key=worth)[: max(0, excess - len(surplus))]]


def _fill_indexes(facts: _Facts, todo: JobPlan, missing: int) -> None:
    taken = facts.done_indexes | facts.failed_indexes
    taken |= {index for pod in facts.active if (index := index_of(pod)) is not None}
    if replaces_only_failed(facts.spec):
        ending = (pod for pod in facts.pods if is_terminating(pod))
        taken |= {index for pod in ending if (index := index_of(pod)) is not None}
    free = [index for index in range(facts.completions or 0) if index not in taken][:missing]
    waits = {index: _index_backoff(facts, index) for index in free}
    ready = [index for index in free if waits[index] <= 0]
    if free and not ready:
        todo.look_again(min(waits.values()))
    for index in ready:
        todo.create_at[index] = _next_tries(facts, index) if facts.per_index else None


def _next_tries(facts: _Facts, index: int) -> tuple[int, int]:
    replaced = facts.awaiting.get(index)
    if replaced is None:
        return 0, 0
    counted, ignored = tries_of(replaced)
    if counts_as_failure(facts.spec, replaced):
        return counted + 1, ignored
    return counted, ignored + 1


def _backoff(facts: _Facts) -> float:
    """Seconds until a pod may follow the failed ones; each failure in a row doubles the wait."""
    successes = [finished_time(pod) for pod in facts.pods if phase(pod) == "Succeeded"]
    failures = [finished_time(pod) for pod in facts.pods if has_failed(facts.spec, pod)]
    last_success = max(successes, default=None)
    recent = [end for end in failures if last_success is None or end > last_success]
    return _remaining(len(recent), max(recent, default=None), facts.now)


def _index_backoff(facts: _Facts, index: int) -> float:
    replaced = facts.awaiting.get(index)
    if replaced is None:
        return 0.0
    return _remaining(sum(tries_of(replaced)) + 1, finished_time(replaced), facts.now)


def _remaining(failures: int, last: dt.datetime | None, now: dt.datetime) -> float:
    if not failures or last is None:
        return 0.0
    wait = min(_FIRST_BACKOFF * 2.0 ** min(failures - 1, 10), _LONGEST_BACKOFF)
    return max(0.0, wait - (now - last).total_seconds())


# --- counting --------------------------------------------------------------------------------


def _track(facts: _Facts, todo: JobPlan) -> None:
    """Notes the pods that have ended and may be released, and what has been decided."""
    status, outcome = todo.status, todo.outcome
    uncounted: Obj = status["uncountedTerminatedPods"]
    completed = set(facts.known_indexes)
    noted = 0
    for pod in sorted(facts.tracked, key=lambda p: index_of(p) or 0):
        failed = has_failed(facts.spec, pod)
        if not _may_go(facts, outcome, pod, failed):
            continue
        if noted >= _MOST_AT_ONCE:
            todo.more_to_release = True
            break
        todo.release.append(pod)
        noted += 1
        if phase(pod) == "Succeeded":
            _note_success(facts, pod, uncounted, completed)
        elif failed or (outcome is not None and not outcome.succeeded):
            _note_failure(facts, pod, uncounted)
    if facts.indexed:
        _number(status, "completedIndexes", format_indexes(completed))
        _number(status, "succeeded", len(completed))
    if facts.per_index:
        status["failedIndexes"] = format_indexes(facts.failed_indexes)
    if outcome is not None:
        ensure_condition(
            status, outcome.interim, "True", outcome.reason, outcome.message, facts.now
        )


def _may_go(facts: _Facts, outcome: Outcome | None, pod: Obj, failed: bool) -> bool:
    if outcome is not None or phase(pod) == "Succeeded":
        return True
    index = index_of(pod)
    # The last failure of an index tells its successor how often it failed.
    held = facts.awaiting.get(index) if index is not None else None
    return failed and (held is None or uid(held) != uid(pod))


def _note_success(facts: _Facts, pod: Obj, uncounted: Obj, completed: set[int]) -> None:
    if facts.indexed:
        # The index itself is enough not to be counted twice.
        if facts.is_valid(pod) and (index := index_of(pod)) is not None:
            completed.add(index)
    elif uid(pod) not in (uncounted.get("succeeded") or ()):
        uncounted.setdefault("succeeded", []).append(uid(pod))


def _note_failure(facts: _Facts, pod: Obj, uncounted: Obj) -> None:
    if uid(pod) in (uncounted.get("failed") or ()) or not facts.is_valid(pod):
        return
    if counts_as_failure(facts.spec, pod):
        uncounted.setdefault("failed", []).append(uid(pod))
