"""Carrying out plans for JobSets."""

from __future__ import annotations

from typing import Final

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import AlreadyExists, ApiError
from kubeling.kube.objects import (
    Key,
    Obj,
    deletion_requested,
    labels,
    name,
    namespace,
    uid,
)
from kubeling.kube.resources import (
    JOBS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    SERVICES,
    Resource,
)
from kubeling.training import observation
from kubeling.training.jobset.neighbours import acquaint
from kubeling.training.jobset.objects import JOBSET_NAME, RESTART_ATTEMPT, claims, service
from kubeling.training.jobset.plan import Plan, has_ended, plan
from kubeling.training.jobset.resources import JOB_SETS
from kubeling.training.network import is_shared
from kubeling.training.together import together

__all__ = ["MANAGED_BY", "JobSetReconciler", "jobset_controller", "pod_key"]

MANAGED_BY: Final = "jobset.sigs.k8s.io/jobset-controller"
_COMPONENT: Final = "jobset-controller"


def jobset_controller(context: Context) -> Controller:
    """The controller of JobSets."""
    reconciler = JobSetReconciler(context)
    return Controller(
        name=_COMPONENT,
        resource=JOB_SETS,
        reconcile=reconciler.reconcile,
        owns=(JOBS, SERVICES),
        watches={NODES: lambda _: ()},
    )


class JobSetReconciler:
    """Moves JobSets towards what they ask for."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder(_COMPONENT)
        self._jobsets = context.informers.of(JOB_SETS)
        self._jobs = context.informers.of(JOBS)
        self._services = context.informers.of(SERVICES)
        self._pods = context.informers.of(PODS)
        self._nodes = context.informers.of(NODES)
        self._pods.add_index("jobset", lambda pod: (pod_key(pod),))

    async def reconcile(self, key: Key) -> Result | None:
        """One pass over one JobSet."""
        jobset = self._jobsets.get(*key)
        if jobset is None or deletion_requested(jobset):
            return None
        if jobset["spec"].get("managedBy") not in (None, "", MANAGED_BY):
            return None
        jobs = self._jobs.owned_by(uid(jobset))
        todo = plan(jobset, jobs, self._why(jobset), self._clock.now())
        await self._carry_out(jobset, todo, first=not jobs and not has_ended(jobset))
        return None if todo.requeue_after is None else Result(todo.requeue_after)

    def _why(self, jobset: Obj) -> str:
        attempt = str(int((jobset.get("status") or {}).get("restarts") or 0))
        pods = self._pods.by_index("jobset", f"{namespace(jobset)}/{name(jobset)}")
        return observation.first_failure(
            p for p in pods if labels(p).get(RESTART_ATTEMPT) == attempt
        )

    async def _carry_out(self, jobset: Obj, todo: Plan, first: bool) -> None:
        if todo.delete_jobset:
            await self._client.delete(
                JOB_SETS, name(jobset), namespace(jobset), uid=uid(jobset), missing_ok=True
            )
            return
        if todo.status != (jobset.get("status") or {}):
            await self._client.replace_status(JOB_SETS, {**jobset, "status": todo.status})
        await self._recorder.record(jobset, todo.notes)
        await together(self._delete(job) for job in todo.delete)
        if not has_ended({**jobset, "status": todo.status}):
            await self._introduce(jobset)
        if first:
            for claim in claims(jobset):
                await self._create(PERSISTENT_VOLUME_CLAIMS, jobset, claim, "PVCCreationFailed")
        if is_shared(self._nodes.list()):
            for job in todo.create:
                acquaint(jobset, job)
        await together(self._create(JOBS, jobset, job, "JobCreationFailed") for job in todo.create)
        for job in todo.suspend:
            await self._client.patch(JOBS, name(job), {"spec": {"suspend": True}}, namespace(job))
        for job, patch in todo.resume:
            await self._resume(job, patch)

    async def _introduce(self, jobset: Obj) -> None:
        """Sees to it that there is what the pods find each other by."""
        headless = service(jobset)
        if headless and self._services.get(namespace(headless), name(headless)) is None:
            await self._create(SERVICES, jobset, headless, "HeadlessServiceCreationFailed")

    async def _create(self, resource: Resource, jobset: Obj, obj: Obj, reason: str) -> None:
        """Creates an object unless it is there: names are ours and the same in every pass."""
        try:
            await self._client.create(resource, obj)
        except AlreadyExists:
            return
        except ApiError as error:
            await self._recorder.warning(jobset, reason, f"{name(obj)}: {error}")
            raise

    async def _delete(self, job: Obj) -> None:
        # In the foreground: the name is free only when the pods, and the ports they hold, are gone.
        await self._client.delete(
            JOBS,
            name(job),
            namespace(job),
            propagation="Foreground",
            uid=uid(job),
            missing_ok=True,
        )

    async def _resume(self, job: Obj, patch: Obj) -> None:
        if "template" in patch["spec"] and (job.get("status") or {}).get("startTime"):
            # A Job lets its template be changed only before it starts.
            await self._client.patch_status(JOBS, name(job), {"startTime": None}, namespace(job))
        await self._client.patch(JOBS, name(job), patch, namespace(job))


def pod_key(pod: Obj) -> str:
    """The JobSet a pod says it belongs to, as the key of an index."""
    return f"{namespace(pod)}/{labels(pod).get(JOBSET_NAME, '')}"
