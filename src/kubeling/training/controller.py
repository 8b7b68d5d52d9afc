"""Carrying out plans for training jobs: one reconciler per kind, all of the same class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import AlreadyExists, Conflict
from kubeling.kube.objects import (
    Key,
    Obj,
    deletion_requested,
    format_time,
    is_owned_by,
    name,
    namespace,
    uid,
)
from kubeling.kube.resources import NODES, PODS, SERVICES, Resource
from kubeling.training.admission import MANAGED_BY
from kubeling.training.companions import Companion, InTheWay, keep
from kubeling.training.gangs import VOLCANO_POD_GROUPS
from kubeling.training.job import JobKind, TrainingJob
from kubeling.training.network import is_shared
from kubeling.training.plan import Plan, plan
from kubeling.training.settings import TrainingSettings
from kubeling.training.together import together

__all__ = ["JobReconciler", "controller_of"]


def controller_of(kind: JobKind, context: Context) -> Controller:
    """The controller of one kind of training job."""
    reconciler = JobReconciler(kind, context)
    return Controller(
        name=f"{kind.name.lower()}-controller",
        resource=kind.resource,
        reconcile=reconciler.reconcile,
        owns=(PODS, SERVICES, *reconciler.groups),
        watches={NODES: lambda _: ()},
    )


class JobReconciler:
    """Moves the jobs of one kind towards what they ask for."""

    def __init__(self, kind: JobKind, context: Context) -> None:
        self._kind = kind
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder(f"{kind.name.lower()}-controller")
        self._jobs = context.informers.of(kind.resource)
        self._pods = context.informers.of(PODS)
        self._services = context.informers.of(SERVICES)
        self._nodes = context.informers.of(NODES)
        self._gang = TrainingSettings.of(context.settings).gang_scheduler
        # Volcano says in the group's status when its pods may be made.
        self.groups = (VOLCANO_POD_GROUPS,) if self._gang == "volcano" else ()
        self._groups = [context.informers.of(resource) for resource in self.groups]
        # Pods to be deleted (by job) whose disappearance the cache does not show yet, and whether
        # the API was told: without it, a failed pod could be counted as restarted twice.
        self._deleted: dict[Key, dict[str, bool]] = {}

    async def reconcile(self, key: Key) -> Result | None:
        """One pass over one job."""
        obj = self._jobs.get(*key)
        if obj is None or deletion_requested(obj):
            self._deleted.pop(key, None)
            return None
        job = TrainingJob(self._kind, obj, is_shared(self._nodes.list()))
        if job.run_policy.managed_by not in (None, MANAGED_BY):
            return None
        pods = self._owned_pods(key, job)
        services = self._services.owned_by(job.uid)
        todo = plan(job, pods, services, self._clock.now(), self._gang, self._held(job, pods))
        known = self._deleted.get(key, {})
        todo.delete_pods += [pod for pod in pods if known.get(uid(pod)) is False]
        await self._carry_out(key, job, todo)
        return None if todo.requeue_after is None else Result(todo.requeue_after)

    def _held(self, job: TrainingJob, pods: Sequence[Obj]) -> str:
        """What the job's pods wait for before they are made."""
        if pods:
            return ""
        for informer in self._groups:
            group = informer.get(job.namespace, job.name) or {}
            if (group.get("status") or {}).get("phase") in (None, "", "Pending"):
                return f"it waits until Volcano has room for PodGroup {job.name}"
        return ""

    def _owned_pods(self, key: Key, job: TrainingJob) -> list[Obj]:
        pods = self._pods.owned_by(job.uid)
        deleted = self._deleted.get(key)
        if not deleted:
            return pods
        for gone in deleted.keys() - {uid(pod) for pod in pods}:
            del deleted[gone]
        return [_as_deleted(pod) if uid(pod) in deleted else pod for pod in pods]

    async def _carry_out(self, key: Key, job: TrainingJob, todo: Plan) -> None:
        if todo.delete_job:
            await self._client.delete(
                self._kind.resource, job.name, job.namespace, uid=job.uid, missing_ok=True
            )
            return
        await self._write_status(job, todo)
        if todo.delete_pods:
            known = self._deleted.setdefault(key, {})
            known.update((uid(pod), False) for pod in todo.delete_pods)
        await together(
            [self._delete_pod(key, job, pod) for pod in todo.delete_pods]
            + [self._delete(SERVICES, job, service) for service in todo.delete_services]
        )
        await self._see_to(job, todo.companions)
        await together(self._create(SERVICES, job, service) for service in todo.create_services)
        await together(self._create(PODS, job, pod) for pod in todo.create_pods)
        await self._recorder.record(job.obj, todo.notes)

    async def _see_to(self, job: TrainingJob, companions: Iterable[Companion]) -> None:
        try:
            await keep(self._client, job.obj, companions)
        except InTheWay as error:
            await self._recorder.warning(job.obj, "ErrResourceExists", str(error))
            raise

    async def _write_status(self, job: TrainingJob, todo: Plan) -> None:
        if todo.status == (job.obj.get("status") or {}):
            return
        status = {**todo.status, "lastReconcileTime": format_time(self._clock.now())}
        await self._client.replace_status(self._kind.resource, {**job.obj, "status": status})

    async def _create(self, resource: Resource, job: TrainingJob, obj: Obj) -> None:
        try:
            await self._client.create(resource, obj)
        except AlreadyExists:
            await self._check_ours(resource, job, obj)
            return
        message = f"Created {resource.kind.lower()}: {name(obj)}"
        await self._recorder.normal(job.obj, f"SuccessfulCreate{resource.kind}", message)

    async def _check_ours(self, resource: Resource, job: TrainingJob, obj: Obj) -> None:
        """What exists already is ours and merely not in the cache yet, or in our way."""
        found = await self._client.find(resource, name(obj), job.namespace)
        if found is not None and is_owned_by(found, job.obj) and not deletion_requested(found):
            return
        if found is not None and not is_owned_by(found, job.obj):
            message = f"{resource.kind} {name(obj)} exists and is not of this job; delete it"
            await self._recorder.warning(job.obj, f"FailedCreate{resource.kind}", message)
        raise Conflict(f"{resource.kind} {name(obj)} is still there")

    async def _delete_pod(self, key: Key, job: TrainingJob, pod: Obj) -> None:
        await self._delete(PODS, job, pod)
        self._deleted[key][uid(pod)] = True

    async def _delete(self, resource: Resource, job: TrainingJob, obj: Obj) -> None:
        await self._client.delete(
            resource, name(obj), namespace(obj), uid=uid(obj), missing_ok=True
        )
        message = f"Deleted {resource.kind.lower()}: {name(obj)}"
        await self._recorder.normal(job.obj, f"SuccessfulDelete{resource.kind}", message)


def _as_deleted(pod: Obj) -> Obj:
    metadata = pod["metadata"]
    return {**pod, "metadata": {**metadata, "deletionTimestamp": metadata["creationTimestamp"]}}
