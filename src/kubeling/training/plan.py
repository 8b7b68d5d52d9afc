"""What to do about a training job: a pure function from what is to what should be done.

The states and their order are those of upstream's job controller: a job that has ended is cleaned
up, a suspended one loses its pods, one past its deadline or its failures fails, and any other gets
the pods and Services it lacks. Conditions are derived here and nowhere else.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kubeling.kube.events import EventType, Note
from kubeling.kube.objects import (
    Obj,
    deep_copy,
    deletion_requested,
    format_time,
    is_condition_true,
    name,
    parse_time,
    remove_condition,
    set_condition,
    uid,
)
from kubeling.training import observation
from kubeling.training.companions import Companion
from kubeling.training.gangs import pod_group
from kubeling.training.job import Progress, TrainingJob
from kubeling.training.observation import Failure
from kubeling.training.pods import pod, service
from kubeling.training.scaling import autoscaler
from kubeling.training.settings import GangScheduler

__all__ = ["Plan", "has_ended", "plan"]


@dataclass
class Plan:
    """What to do, in this order: write the status, delete, see to the companions, create."""

    status: Obj
    delete_job: bool = False
    delete_pods: list[Obj] = field(default_factory=list)
    delete_services: list[Obj] = field(default_factory=list)
    companions: list[Companion] = field(default_factory=list)
    create_pods: list[Obj] = field(default_factory=list)
    create_services: list[Obj] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    requeue_after: float | None = None


def has_ended(obj: Obj) -> bool:
    """Whether the job succeeded or failed for good."""
    return is_condition_true(obj, "Succeeded") or is_condition_true(obj, "Failed")


def plan(
    job: TrainingJob,
    pods: Sequence[Obj],
    services: Sequence[Obj],
    now: dt.datetime,
    gang: GangScheduler = "none",
    held: str = "",
) -> Plan:
    """What to do about a job with these pods and Services.

    ``gang`` schedules its pods together; no pod is made while ``held`` says what comes first.
    """
    return _Planner(job, pods, services, now, gang, held).plan()


class _Planner:
    """One pass over one job."""

    def __init__(
        self,
        job: TrainingJob,
        pods: Sequence[Obj],
        services: Sequence[Obj],
        now: dt.datetime,
        gang: GangScheduler,
        held: str,
    ) -> None:
        self._gang: GangScheduler = gang
        self._held = held
        self._job = job
        self._pods = pods
        self._services = services
        self._now = now
        self._plan = Plan(status=deep_copy(job.obj.get("status") or {}))
        self._placed, self._surplus = observation.in_place(job, pods)

    def plan(self) -> Plan:
        if has_ended(self._job.obj):
            self._after_the_end()
        elif self._job.run_policy.suspend:
            self._suspend()
        else:
            self._advance()
        return self._plan

    @property
    def _status(self) -> Obj:
        return self._plan.status

    def _see_to_companions(self, *, active: bool) -> None:
        """An active job has all it needs; of any other only what its pods may still use is left."""
        job, found = self._job, self._plan.companions
        if active and job.kind.companions is not None:
            found += job.kind.companions(job, self._pods)
        found += pod_group(job, self._gang, wanted=active)
        found += autoscaler(job, wanted=active)

    def _after_the_end(self) -> None:
        self._clean_up()
        wait = self._job.run_policy.ttl_seconds_after_finished
        ended = self._status.get("completionTime")
        if wait is None or ended is None:
            return
        left = wait - (self._now - parse_time(ended)).total_seconds()
        if left <= 0:
            self._plan.delete_job = True
        else:
            self._plan.requeue_after = left

    def _suspend(self) -> None:
        kind = self._job.kind.name
        self._created()
        if is_condition_true({"status": self._status}, "Running"):
            self._condition("Running", False, f"{kind}Suspended", self._says("is suspended"))
        if self._condition("Suspended", True, f"{kind}Suspended", self._says("is suspended")):
            self._note("Normal", f"{kind}Suspended", self._says("is suspended"))
        self._status.pop("startTime", None)
        self._status["replicaStatuses"] = {}
        self._plan.delete_pods = [p for p in self._pods if not deletion_requested(p)]
        self._plan.delete_services = list(self._services)
        self._see_to_companions(active=False)

    def _advance(self) -> None:
        self._created()
        self._resume()
        self._status.setdefault("startTime", format_time(self._now))
        states = observation.progress(self._job, self._placed)
        failures = [
            failure
            for replica, found in self._placed.items()
            if (failure := observation.failure_of(self._job, replica, found))
        ]
        self._count(states, failures)
        if self._job.kind.succeeded(self._job, states):
            self._succeed()
        elif why := self._exhausted():
            self._fail(why)
        elif fatal := self._fatal(failures):
            self._tell_exit(fatal)
            role = fatal.replica.type
            why = self._says(f"is failed because a {role} replica failed: {fatal}")
            self._fail(why, "MPIJobEvicted" if self._was_evicted(fatal) else "")
        else:
            self._keep_going(states, failures)

    def _created(self) -> None:
        message = self._says("is created")
        if not self._has("Created"):
            self._note("Normal", f"{self._job.kind.name}Created", message)
            self._warn_of_policies()
        waiting = self._held or observation.waiting_for(self._pods)
        if waiting:
            message = f"{message}, but {waiting}"
        changed = self._condition("Created", True, f"{self._job.kind.name}Created", message)
        if changed and waiting:
            self._note("Warning", "PodsWaiting", waiting)

    def _warn_of_policies(self) -> None:
        """Where a template has a restart policy of its own, the role's holds."""
        for spec in self._job.replica_specs.values():
            if (spec.template.get("spec") or {}).get("restartPolicy"):
                message = (
                    "Restart policy in pod template will be overwritten by restart policy in "
                    "replica spec"
                )
                self._note("Warning", "SettedPodTemplateRestartPolicy", message)
                return

    def _resume(self) -> None:
        if is_condition_true({"status": self._status}, "Suspended"):
            reason = f"{self._job.kind.name}Resumed"
            self._condition("Suspended", False, reason, self._says("is resumed"))
            self._note("Normal", reason, self._says("is resumed"))
            self._status["startTime"] = format_time(self._now)

    def _count(self, states: dict[str, Progress], failures: Sequence[Failure]) -> None:
        """Counts pods, and restarts once, whoever looks again before the failed pod is gone."""
        before = self._status.get("replicaStatuses") or {}
        counted: Obj = {}
        for role, state in states.items():
            known: Obj = before.get(role) or {}
            counted_before = known.get("restarting") or ()
            again = [uid(f.pod) for f in failures if f.retryable and f.replica.type == role]
            new = sum(pod not in counted_before for pod in again)
            labels = self._job.labels(role)
            entry: Obj = {
                "active": state.running,
                "succeeded": state.succeeded,
                "failed": state.failed,
                "restarts": int(known.get("restarts") or 0) + new,
                "restarting": again,
                "selector": ",".join(f"{key}={labels[key]}" for key in sorted(labels)),
            }
            counted[role] = {key: value for key, value in entry.items() if value}
        self._status["replicaStatuses"] = counted

    def _exhausted(self) -> str:
        policy = self._job.run_policy
        if policy.active_deadline_seconds is not None and self._left() <= 0:
            return self._says("has failed because it was active longer than specified deadline")
        if policy.backoff_limit is None:
            return ""
        restarts = observation.restart_count(self._job, self._placed)
        restarts += sum(
            int(entry.get("restarts") or 0) for entry in self._status["replicaStatuses"].values()
        )
        if restarts > policy.backoff_limit:
            return self._says("has failed because it has reached the specified backoff limit")
        return ""

    def _fatal(self, failures: Iterable[Failure]) -> Failure | None:
        dynamic = self._job.spec.get("enableDynamicWorker")
        for failure in failures:
            if not failure.retryable and not (dynamic and failure.replica.type == "Worker"):
                return failure
        return None

    def _was_evicted(self, failure: Failure) -> bool:
        evicted = (failure.pod.get("status") or {}).get("reason") == "Evicted"
        return evicted and self._job.kind.name == "MPIJob"

    def _tell_exit(self, failure: Failure) -> None:
        if failure.exit_code is not None:
            where = f"{self._job.namespace}.{name(failure.pod)}"
            message = f"Pod: {where} exited with code {failure.exit_code}"
            self._note("Normal", "ExitedWithCode", message)

    def _succeed(self) -> None:
        for entry in self._status["replicaStatuses"].values():
            if active := entry.pop("active", 0):
                entry["succeeded"] = entry.get("succeeded", 0) + active
        self._end("Succeeded", "Normal", self._says("successfully completed"))

    def _fail(self, why: str, reason: str = "") -> None:
        self._end("Failed", "Warning", why, reason)

    def _end(self, condition: str, event: EventType, message: str, reason: str = "") -> None:
        reason = reason or f"{self._job.kind.name}{condition}"
        self._created()
        for entry in self._status["replicaStatuses"].values():
            entry.pop("restarting", None)
        remove_condition(self._status, ["Restarting"])
        if self._has("Running"):
            self._condition("Running", False, reason, message)
        self._condition(condition, True, reason, message)
        self._status["completionTime"] = format_time(self._now)
        self._note(event, reason, message)
        self._clean_up()

    def _keep_going(self, states: dict[str, Progress], failures: Sequence[Failure]) -> None:
        retryable = [failure for failure in failures if failure.retryable]
        for failure in retryable:
            self._restart(failure)
        if not retryable and self._leads(states):
            self._run()
        self._plan.delete_pods += [p for p in self._surplus if not deletion_requested(p)]
        self._create_missing()
        if self._job.run_policy.active_deadline_seconds is not None:
            self._plan.requeue_after = max(self._left(), 0.01)

    def _leads(self, states: dict[str, Progress]) -> bool:
        """Whether the role that decides for the job runs."""
        leader = self._job.leader
        deciding = states.values() if leader is None else (states[leader.type],)
        return any(state.running > 0 for state in deciding)

    def _restart(self, failure: Failure) -> None:
        reason = f"{self._job.kind.name}Restarting"
        message = self._says(
            f"is restarting because a {failure.replica.type} replica failed: {failure}"
        )
        remove_condition(self._status, ["Running"])
        self._tell_exit(failure)
        if self._condition("Restarting", True, reason, message):
            self._note("Warning", reason, message)
        self._plan.delete_pods.append(failure.pod)

    def _run(self) -> None:
        reason = f"{self._job.kind.name}Running"
        remove_condition(self._status, ["Restarting"])
        if self._condition("Running", True, reason, self._says("is running")):
            self._note("Normal", reason, self._says("is running"))

    def _create_missing(self) -> None:
        self._see_to_companions(active=True)
        if self._held:
            return
        existing = {name(found) for found in self._services}
        for replica in self._job.replicas():
            if replica not in self._placed:
                self._plan.create_pods.append(pod(self._job, replica, self._gang))
            if self._job.kind.services and self._job.pod_name(replica) not in existing:
                self._plan.create_services.append(service(self._job, replica))
        wanted = {self._job.pod_name(replica) for replica in self._job.replicas()}
        self._plan.delete_services += [s for s in self._services if name(s) not in wanted]

    def _clean_up(self) -> None:
        self._see_to_companions(active=False)
        match self._job.run_policy.clean_pod_policy:
            case "All":
                gone = list(self._pods)
            case "Running":
                gone = [p for p in self._pods if observation.phase(p) in ("Running", "Pending")]
            case _:
                gone = []
        names = {name(found) for found in gone}
        self._plan.delete_pods = [p for p in gone if not deletion_requested(p)]
        self._plan.delete_services = [s for s in self._services if name(s) in names]

    def _left(self) -> float:
        started = parse_time(self._status["startTime"])
        deadline = self._job.run_policy.active_deadline_seconds or 0
        return deadline - (self._now - started).total_seconds()

    def _says(self, what: str) -> str:
        return f"{self._job.kind.name} {self._job.name} {what}"

    def _has(self, condition: str) -> bool:
        return any(c.get("type") == condition for c in self._status.get("conditions") or ())

    def _condition(self, type: str, value: bool, reason: str, message: str) -> bool:
        return set_condition(
            self._status,
            type,
            value,
            reason=reason,
            message=message,
            now=self._now,
            to_end=True,
            stamp_update=True,
        )

    def _note(self, type: EventType, reason: str, message: str) -> None:
        self._plan.notes.append(Note(type, reason, message))
