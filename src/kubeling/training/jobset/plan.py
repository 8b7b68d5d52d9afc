"""What to do next for a JobSet. Pure.

As upstream's reconciler: an outcome that was decided stands; else failures are judged before
successes; only a JobSet without an outcome gets Jobs. Which Jobs are of the present attempt is read
from their labels, so nothing has to be remembered between looks.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from kubeling.kube.events import Note, conclude
from kubeling.kube.objects import (
    Obj,
    deep_copy,
    deletion_requested,
    is_condition_true,
    labels,
    name,
    parse_time,
)
from kubeling.training.jobset.failure import judge
from kubeling.training.jobset.objects import (
    REPLICATED_JOB,
    RESTART_ATTEMPT,
    groups,
    jobs_of_group,
    replicas,
)

__all__ = ["Plan", "has_ended", "plan"]

_SCHEDULING: Final = ("nodeSelector", "tolerations", "schedulingGates", "affinity")


@dataclass
class Plan:
    """What to do, in this order: write the status, delete, create, suspend or resume.

    ``resume`` are Jobs as they are with the patch that starts them.
    """

    status: Obj
    delete_jobset: bool = False
    delete: list[Obj] = field(default_factory=list)
    create: list[Obj] = field(default_factory=list)
    suspend: list[Obj] = field(default_factory=list)
    resume: list[tuple[Obj, Obj]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    requeue_after: float | None = None


def has_ended(jobset: Obj) -> bool:
    """Whether the JobSet completed or failed for good."""
    return is_condition_true(jobset, "Completed") or is_condition_true(jobset, "Failed")


def plan(jobset: Obj, jobs: Sequence[Obj], why: str, now: dt.datetime) -> Plan:
    """What to do about a JobSet with these Jobs; ``why`` tells how its first pod failed."""
    return _Planner(jobset, jobs, why, now).plan()


class _Planner:
    """One pass over one JobSet."""

    def __init__(self, jobset: Obj, jobs: Sequence[Obj], why: str, now: dt.datetime) -> None:
        self._jobset = jobset
        self._spec: Obj = jobset["spec"]
        self._why = why
        self._now = now
        self._plan = Plan(status=deep_copy(jobset.get("status") or {}))
        attempt = int(self._plan.status.get("restarts") or 0)
        self._jobs = [job for job in jobs if _attempt(job) == attempt]
        self._plan.delete = [
            job for job in jobs if _attempt(job) < attempt and not deletion_requested(job)
        ]
        self._names = {name(job) for job in jobs}

    def plan(self) -> Plan:
        self._plan.status["replicatedJobsStatus"] = [self._counts(g) for g in groups(self._jobset)]
        if has_ended(self._jobset):
            self._after_the_end()
        elif failed := [job for job in self._jobs if is_condition_true(job, "Failed")]:
            self._fail_or_restart(failed)
        elif self._has_succeeded():
            self._end("Completed", "AllJobsCompleted", "jobset completed successfully")
        else:
            self._keep_going()
        return self._plan

    def _counts(self, group: Obj) -> Obj:
        counts = {"ready": 0, "succeeded": 0, "failed": 0, "active": 0, "suspended": 0}
        for job in self._members(group):
            if is_condition_true(job, "Complete"):
                counts["succeeded"] += 1
            elif is_condition_true(job, "Failed"):
                counts["failed"] += 1
            else:
                counts["suspended"] += bool(job["spec"].get("suspend"))
                counts["active"] += int((job.get("status") or {}).get("active") or 0) > 0
                counts["ready"] += _is_ready(job)
        return {"name": group["name"], **counts}

    def _members(self, group: Obj) -> list[Obj]:
        return [job for job in self._jobs if labels(job).get(REPLICATED_JOB) == group["name"]]

    def _after_the_end(self) -> None:
        self._plan.delete += self._unfinished()
        wait = self._spec.get("ttlSecondsAfterFinished")
        if wait is None:
            return
        ended = max(
            parse_time(entry["lastTransitionTime"])
            for entry in self._plan.status["conditions"]
            if entry["type"] in ("Completed", "Failed") and entry["status"] == "True"
        )
        left = int(wait) - (self._now - ended).total_seconds()
        if left <= 0:
            self._plan.delete_jobset = True
        else:
            self._plan.requeue_after = left

    def _fail_or_restart(self, failed: list[Obj]) -> None:
        status = self._plan.status
        counted = int(status.get("restartsCountTowardsMax") or 0)
        verdict = judge(self._spec.get("failurePolicy"), failed, counted)
        message = f"{verdict.message} (first failed job: {name(verdict.job)})"
        if self._why:
            message = f"{message}: {self._why}"
        if not verdict.restart:
            self._end("Failed", verdict.reason, message)
            return
        status["restarts"] = int(status.get("restarts") or 0) + 1
        if verdict.counts:
            status["restartsCountTowardsMax"] = counted + 1
        self._plan.notes.append(Note("Warning", verdict.reason, message))

    def _has_succeeded(self) -> bool:
        policy = self._spec.get("successPolicy") or {}
        wanted = policy.get("targetReplicatedJobs") or [g["name"] for g in groups(self._jobset)]
        targets = [group for group in groups(self._jobset) if group["name"] in wanted]
        done = sum(self._reached(group, "Complete") for group in targets)
        if policy.get("operator") == "Any":
            return done > 0
        return done >= sum(replicas(group) for group in targets)

    def _reached(self, group: Obj, state: str) -> int:
        """How many Jobs of a group are complete, or at least ready."""
        members = self._members(group)
        if state == "Complete":
            return sum(is_condition_true(job, "Complete") for job in members)
        return sum(_is_ready(job) or _is_over(job) for job in members)

    def _end(self, condition: str, reason: str, message: str) -> None:
        self._condition(condition, True, reason, message)
        self._plan.status["terminalState"] = condition
        self._plan.delete += self._unfinished()

    def _unfinished(self) -> list[Obj]:
        return [job for job in self._jobs if not _is_over(job) and not deletion_requested(job)]

    def _keep_going(self) -> None:
        suspended = bool(self._spec.get("suspend"))
        if suspended:
            self._condition("Suspended", True, "SuspendedJobs", "jobset is suspended")
            self._plan.suspend = [
                job for job in self._jobs if not job["spec"].get("suspend") and not _is_over(job)
            ]
        elif any(c["type"] == "Suspended" for c in self._plan.status.get("conditions") or ()):
            self._condition("Suspended", False, "ResumeJobs", "jobset is resumed")
        in_order = (self._spec.get("startupPolicy") or {}).get("startupPolicyOrder") == "InOrder"
        for group in groups(self._jobset):
            if not self._may_start(group):
                continue
            self._start(group, suspended)
            if in_order and not suspended and self._reached(group, "Ready") < replicas(group):
                self._startup_in_progress()
                return
        if in_order and not suspended:
            self._startup_completed()

    def _may_start(self, group: Obj) -> bool:
        by_name = {g["name"]: g for g in groups(self._jobset)}
        return all(
            self._reached(by_name[need["name"]], need["status"]) >= replicas(by_name[need["name"]])
            for need in group.get("dependsOn") or ()
        )

    def _start(self, group: Obj, suspended: bool) -> None:
        existing = {name(job): job for job in self._members(group)}
        for job in jobs_of_group(self._jobset, group):
            found = existing.get(name(job))
            if found is None and name(job) not in self._names:
                self._plan.create.append(job)
            elif found is not None and found["spec"].get("suspend") and not suspended:
                self._plan.resume.append((found, _resuming(found, job)))

    def _startup_in_progress(self) -> None:
        text = "in order startup policy is in progress"
        reason = "InOrderStartupPolicyInProgress"
        self._condition("StartupPolicyInProgress", True, reason, text)

    def _startup_completed(self) -> None:
        text, reason = "in order startup policy has completed", "InOrderStartupPolicyCompleted"
        if is_condition_true({"status": self._plan.status}, "StartupPolicyInProgress"):
            self._condition("StartupPolicyInProgress", False, reason, text)
        self._condition("StartupPolicyCompleted", True, reason, text)

    def _condition(self, type: str, value: bool, reason: str, message: str) -> None:
        self._plan.notes += conclude(
            self._plan.status, type, value, reason=reason, message=message, now=self._now
        )


def _attempt(job: Obj) -> int:
    text = labels(job).get(RESTART_ATTEMPT, "0")
    return int(text) if text.isdigit() else 0


def _is_over(job: Obj) -> bool:
    return is_condition_true(job, "Complete") or is_condition_true(job, "Failed")


def _is_ready(job: Obj) -> bool:
    """Whether every pod that is expected is ready or has succeeded."""
    status, spec = job.get("status") or {}, job["spec"]
    expected = int(spec.get("parallelism", 1))
    if spec.get("completions") is not None:
        expected = min(expected, int(spec["completions"]))
    return int(status.get("ready") or 0) + int(status.get("succeeded") or 0) >= expected


def _resuming(job: Obj, wanted: Obj) -> Obj:
    """The patch that starts a suspended Job, with what decides where its pods are scheduled."""
    patch: Obj = {"suspend": False}
    before, after = job["spec"]["template"], wanted["spec"]["template"]
    metadata: Obj = {}
    for field_ in ("labels", "annotations"):
        new = (after.get("metadata") or {}).get(field_) or {}
        old = (before.get("metadata") or {}).get(field_) or {}
        if added := {key: value for key, value in new.items() if old.get(key) != value}:
            metadata[field_] = added
    pod: Obj = {}
    for field_ in _SCHEDULING:
        old, new = before["spec"].get(field_), after["spec"].get(field_)
        if old == new:
            continue
        gone = {key: None for key in old if key not in (new or {})} if isinstance(old, dict) else {}
        pod[field_] = {**gone, **new} if isinstance(new, dict) else new
    template = {**({"metadata": metadata} if metadata else {}), **({"spec": pod} if pod else {})}
    if template:
        patch["template"] = template
    return {"spec": patch}
