"""Reconciling TrainJobs: snapshot the runtime, create the Jobs in order, report their state."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.objects import (
    Key,
    Obj,
    deletion_requested,
    is_condition_true,
    key_of,
    labels,
    name,
    namespace,
    new_object,
    uid,
)
from kubeling.kube.resources import CONFIG_MAPS, JOBS, PODS, SERVICES, Resource
from kubeling.training import observation
from kubeling.training.trainer.environment import UnsupportedPolicyError
from kubeling.training.trainer.render import (
    JOBSET_NAME,
    REPLICATED_JOB,
    ReplicatedJob,
    job_objects,
    replicated_jobs,
    service_object,
)
from kubeling.training.trainer.resources import (
    CLUSTER_TRAINING_RUNTIMES,
    TRAIN_JOBS,
    TRAINING_RUNTIMES,
)
from kubeling.training.trainer.status import deadline_left, failed_status, has_ended, status_of

__all__ = ["MANAGED_BY", "TrainJobReconciler", "train_job_controller"]

MANAGED_BY: Final = "trainer.kubeflow.org/trainjob-controller"
_COMPONENT: Final = "trainjob-controller"


class RuntimeMissingError(Exception):
    """The runtime a TrainJob names does not exist."""


def train_job_controller(context: Context) -> Controller:
    """The controller of TrainJobs."""
    reconciler = TrainJobReconciler(context)
    return Controller(
        name=_COMPONENT,
        resource=TRAIN_JOBS,
        reconcile=reconciler.reconcile,
        owns=(JOBS, SERVICES),
        watches={
            PODS: reconciler.keys_of_pod,
            TRAINING_RUNTIMES: reconciler.keys_of_runtime,
            CLUSTER_TRAINING_RUNTIMES: reconciler.keys_of_runtime,
        },
    )


class TrainJobReconciler:
    """Moves TrainJobs towards what they ask for."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder(_COMPONENT)
        self._informers = context.informers
        self._train_jobs = context.informers.of(TRAIN_JOBS)
        self._jobs = context.informers.of(JOBS)
        self._pods = context.informers.of(PODS)
        # What each job was last said to wait for: said again only when it changes.
        self._waiting: dict[Key, str] = {}
        self._pods.add_index("jobset", lambda pod: (_jobset_of(pod),))

    def keys_of_pod(self, pod: Obj) -> list[Key]:
        """The TrainJob whose node a pod is."""
        jobset = labels(pod).get(JOBSET_NAME)
        return [Key(namespace(pod), jobset)] if jobset else []

    def keys_of_runtime(self, runtime: Obj) -> list[Key]:
        """The TrainJobs that wait for a runtime."""
        return [
            key_of(train_job)
            for train_job in self._train_jobs.list(namespace(runtime))
            if train_job["spec"]["runtimeRef"]["name"] == name(runtime) and not has_ended(train_job)
        ]

    async def reconcile(self, key: Key) -> Result | None:
        """One pass over one TrainJob."""
        train_job = self._train_jobs.get(*key)
        if train_job is None or deletion_requested(train_job) or has_ended(train_job):
            self._waiting.pop(key, None)
            return None
        if train_job["spec"].get("managedBy") not in (None, MANAGED_BY):
            return None
        jobs = self._jobs.owned_by(uid(train_job))
        try:
            groups = replicated_jobs(train_job, await self._runtime_spec(train_job, jobs))
        except (RuntimeMissingError, UnsupportedPolicyError) as error:
            await self._refuse(train_job, str(error))
            return None
        await self._create(train_job, groups, jobs)
        await self._suspend_or_resume(train_job, jobs)
        return await self._report(train_job, groups, jobs)

    async def _runtime_spec(self, train_job: Obj, jobs: list[Obj]) -> Obj:
        """The runtime as it was when the job was first seen; later edits do not touch the job."""
        snapshot = f"{name(train_job)}-runtime-snapshot"
        if jobs:
            kept = await self._client.find(CONFIG_MAPS, snapshot, namespace(train_job))
            if kept is not None and "spec" in (kept.get("data") or {}):
                return msgspec.json.decode(kept["data"]["spec"], type=dict[str, Any])
        spec = self._runtime(train_job)
        body = new_object(
            CONFIG_MAPS,
            snapshot,
            namespace(train_job),
            owner=train_job,
            data={"spec": msgspec.json.encode(spec).decode()},
        )
        await self._ensure(CONFIG_MAPS, body)
        return spec

    def _runtime(self, train_job: Obj) -> Obj:
        reference = train_job["spec"]["runtimeRef"]
        wanted = reference["name"]
        local = reference.get("kind") == TRAINING_RUNTIMES.kind
        resource = TRAINING_RUNTIMES if local else CLUSTER_TRAINING_RUNTIMES
        informer = self._informers.of(resource)
        found = informer.get(namespace(train_job) if local else "", wanted)
        if found is None:
            known = ", ".join(sorted(name(runtime) for runtime in informer.list())) or "none"
            raise RuntimeMissingError(
                f'{resource.kind} "{wanted}" does not exist; create it or name one of: {known}'
            )
        spec: Obj = found.get("spec") or {}
        return spec

    async def _create(self, train_job: Obj, groups: list[ReplicatedJob], jobs: list[Obj]) -> None:
        existing = {name(job) for job in jobs}
        complete = {
            group.name
            for group in groups
            if sum(_is_complete(job, group.name) for job in jobs) >= group.replicas
        }
        if not existing:
            await self._ensure(SERVICES, service_object(train_job))
        for group, job in job_objects(train_job, groups):
            if name(job) not in existing and complete.issuperset(group.depends_on):
                await self._ensure(JOBS, job)
                message = f"Created job: {name(job)}"
                await self._recorder.normal(train_job, "JobCreated", message)

    async def _suspend_or_resume(self, train_job: Obj, jobs: list[Obj]) -> None:
        wanted = bool(train_job["spec"].get("suspend"))
        for job in jobs:
            if bool(job["spec"].get("suspend")) != wanted:
                patch = {"spec": {"suspend": wanted}}
                await self._client.patch(JOBS, name(job), patch, namespace(job))

    async def _report(
        self, train_job: Obj, groups: list[ReplicatedJob], jobs: list[Obj]
    ) -> Result | None:
        now = self._clock.now()
        wanted = {group.name: group.replicas for group in groups}
        pods = self._pods.by_index("jobset", _jobset_key(namespace(train_job), name(train_job)))
        status = status_of(train_job, wanted, jobs, now, pods)
        ended = has_ended({**train_job, "status": status})
        if status != (train_job.get("status") or {}):
            await self._client.replace_status(TRAIN_JOBS, {**train_job, "status": status})
            await self._tell(train_job, status)
        if ended:
            await self._stop(jobs)
            return None
        await self._tell_waiting(train_job, pods)
        left = deadline_left(train_job, now)
        return None if left is None else Result(max(left, 0.01))

    async def _stop(self, jobs: list[Obj]) -> None:
        """Ends what still runs of a job that has ended; what has ended is kept for its logs."""
        for job in jobs:
            if not (is_condition_true(job, "Complete") or is_condition_true(job, "Failed")):
                patch = {"spec": {"suspend": True}}
                await self._client.patch(JOBS, name(job), patch, namespace(job))

    async def _tell(self, train_job: Obj, status: Obj) -> None:
        before = {c["type"]: c for c in (train_job.get("status") or {}).get("conditions") or ()}
        for entry in status.get("conditions") or ():
            if before.get(entry["type"], {}).get("status") == entry["status"]:
                continue
            bad = entry["type"] == "Failed" and entry["status"] == "True"
            await self._recorder.event(
                train_job, "Warning" if bad else "Normal", entry["reason"], entry["message"]
            )

    async def _tell_waiting(self, train_job: Obj, pods: list[Obj]) -> None:
        waiting = observation.waiting_for(pods)
        if waiting and self._waiting.get(key_of(train_job)) != waiting:
            await self._recorder.warning(train_job, "PodsWaiting", waiting)
        self._waiting[key_of(train_job)] = waiting

    async def _refuse(self, train_job: Obj, why: str) -> None:
        status = failed_status(train_job, why, self._clock.now())
        if status != (train_job.get("status") or {}):
            await self._client.replace_status(TRAIN_JOBS, {**train_job, "status": status})
            await self._tell(train_job, status)

    async def _ensure(self, resource: Resource, obj: Obj) -> None:
        """Creates an object unless it is there: names are ours and the same in every pass."""
        try:
            await self._client.create(resource, obj)
        except AlreadyExists:
            return


def _is_complete(job: Obj, group: str) -> bool:
    return labels(job).get(REPLICATED_JOB) == group and is_condition_true(job, "Complete")


def _jobset_of(pod: Obj) -> str:
    return _jobset_key(namespace(pod), labels(pod).get(JOBSET_NAME, ""))


def _jobset_key(where: str, jobset: str) -> str:
    return f"{where}/{jobset}"
