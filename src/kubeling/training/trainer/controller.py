"""Reconciling TrainJobs: snapshot the runtime, create the JobSet, report its state."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import AlreadyExists, Invalid, NotFound
from kubeling.kube.objects import (
    Key,
    Obj,
    deletion_requested,
    is_owned_by,
    key_of,
    labels,
    name,
    namespace,
    new_object,
)
from kubeling.kube.resources import CONFIG_MAPS, ENDPOINTS, NODES, PODS, SECRETS, Resource
from kubeling.training import observation
from kubeling.training.companions import keep
from kubeling.training.jobset.controller import pod_key
from kubeling.training.jobset.objects import JOBSET_NAME
from kubeling.training.jobset.resources import JOB_SETS
from kubeling.training.network import REMOTE, is_shared
from kubeling.training.settings import TrainingSettings
from kubeling.training.trainer import mpi, mpi_agent, progress
from kubeling.training.trainer.render import Rendered, render
from kubeling.training.trainer.resources import (
    CLUSTER_TRAINING_RUNTIMES,
    TRAIN_JOBS,
    TRAINING_RUNTIMES,
)
from kubeling.training.trainer.rules import violations
from kubeling.training.trainer.status import (
    deadline_left,
    has_ended,
    refused_status,
    status_of,
)

__all__ = ["MANAGED_BY", "TrainJobReconciler", "train_job_controller"]

MANAGED_BY: Final = "trainer.kubeflow.org/trainjob-controller"
_COMPONENT: Final = "trainjob-controller"


class RefusedError(Exception):
    """The runtime does not exist, or the TrainJob does not fit it; the message says which."""


def train_job_controller(context: Context) -> Controller:
    """The controller of TrainJobs."""
    reconciler = TrainJobReconciler(context)
    return Controller(
        name=_COMPONENT,
        resource=TRAIN_JOBS,
        reconcile=reconciler.reconcile,
        owns=(JOB_SETS,),
        watches={
            PODS: reconciler.keys_of_pod,
            TRAINING_RUNTIMES: reconciler.keys_of_runtime,
            CLUSTER_TRAINING_RUNTIMES: reconciler.keys_of_runtime,
            NODES: lambda _: (),
        },
    )


class TrainJobReconciler:
    """Moves TrainJobs towards what they ask for."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder(_COMPONENT)
        self._informers = context.informers
        self._progress_url = TrainingSettings.of(context.settings).progress_url
        self._train_jobs = context.informers.of(TRAIN_JOBS)
        self._jobsets = context.informers.of(JOB_SETS)
        self._pods = context.informers.of(PODS)
        # What each job was last said to wait for: said again only when it changes.
        self._waiting: dict[Key, str] = {}
        self._nodes = context.informers.of(NODES)
        self._pods.add_index("jobset", lambda pod: (pod_key(pod),))

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
        jobset = self._jobsets.get(*key)
        try:
            self._check_ours(train_job, jobset)
            await self._bring_about(train_job, jobset)
        except RefusedError as error:
            status = refused_status(train_job, str(error), self._clock.now())
            await self._write_status(train_job, status)
            return None
        await self._let_launch(train_job, jobset)
        return await self._report(train_job, jobset)

    async def _let_launch(self, train_job: Obj, jobset: Obj | None) -> None:
        """Keeps the account by which an MPI launcher starts processes in the nodes."""
        made = (jobset or {"metadata": {}})["metadata"].get("annotations") or {}
        if jobset is not None and REMOTE in made:
            pods = self._pods_of(train_job)
            await keep(self._client, train_job, mpi_agent.companions(train_job, jobset, pods))

    def _pods_of(self, train_job: Obj) -> list[Obj]:
        return self._pods.by_index("jobset", f"{namespace(train_job)}/{name(train_job)}")

    def _check_ours(self, train_job: Obj, jobset: Obj | None) -> None:
        if jobset is not None and not is_owned_by(jobset, train_job):
            raise RefusedError(f"JobSet {name(jobset)} exists and is not of this job; delete it")

    async def _bring_about(self, train_job: Obj, jobset: Obj | None) -> None:
        """Creates the JobSet; one that is suspended, or to be, is brought up to date."""
        spec: Obj = train_job["spec"]
        wanted = bool(spec.get("suspend"))
        if jobset is not None and not wanted and not jobset["spec"].get("suspend"):
            return
        runtime, shared = await self._runtime_spec(train_job), is_shared(self._nodes.list())
        url = self._progress_url or await self._progress_server(shared)
        rendered = render(train_job, runtime, url, shared_network=shared)
        if jobset is None:
            await self._create(train_job, rendered)
        else:
            await self._update(train_job, rendered.jobset)

    async def _progress_server(self, shared: bool) -> str:
        """Where nodes report; those that know no Services by name, where the Service leads to."""
        if not shared:
            return progress.URL
        found = await self._client.find(ENDPOINTS, progress.SERVICE, progress.NAMESPACE)
        return progress.behind(found or {})

    async def _update(self, train_job: Obj, jobset: Obj) -> None:
        """Brings a suspended JobSet up to date, or makes it anew where it may not be changed so."""
        try:
            await self._client.apply(JOB_SETS, jobset, field_manager="trainer")
        except Invalid as error:
            message = f"the JobSet is made anew, because it cannot be changed: {error}"
            await self._recorder.normal(train_job, "JobSetReplaced", message)
            await self._delete_jobset(train_job)

    async def _create(self, train_job: Obj, rendered: Rendered) -> None:
        for resource, obj in rendered.companions:
            try:
                await self._ensure(resource, obj)
            except NotFound:
                message = (
                    f"pods may start one by one: the API has no {resource.qualified}, which the "
                    "runtime's podGroupPolicy wants; install its scheduler or leave the policy out"
                )
                await self._recorder.warning(train_job, "PodGroupsMissing", message)
        if rendered.keys:
            await self._ensure_keys(train_job)
        await self._client.apply(JOB_SETS, rendered.jobset, field_manager="trainer")
        message = f"Created jobset: {name(train_job)}"
        await self._recorder.normal(train_job, "JobSetCreated", message)

    async def _ensure_keys(self, train_job: Obj) -> None:
        where = namespace(train_job)
        if await self._client.find(SECRETS, mpi.key_name(train_job), where) is None:
            await self._ensure(SECRETS, mpi.secret(train_job))

    async def _runtime_spec(self, train_job: Obj) -> Obj:
        """The runtime as it was when the job was first seen; later edits do not touch the job."""
        snapshot = f"{name(train_job)}-runtime-snapshot"
        kept = await self._client.find(CONFIG_MAPS, snapshot, namespace(train_job))
        if kept is not None and is_owned_by(kept, train_job):
            return msgspec.json.decode(kept["data"]["spec"], type=dict[str, Any])
        spec = self._runtime(train_job)
        if wrong := list(violations(train_job, spec)):
            raise RefusedError("; ".join(map(str, wrong)))
        data = {"spec": msgspec.json.encode(spec).decode()}
        where = namespace(train_job)
        body = new_object(CONFIG_MAPS, snapshot, where, owner=train_job, data=data)
        await self._ensure(CONFIG_MAPS, body)
        return spec

    def _runtime(self, train_job: Obj) -> Obj:
        reference = train_job["spec"]["runtimeRef"]
        wanted = reference["name"]
        local = reference.get("kind") == TRAINING_RUNTIMES.kind
        resource = TRAINING_RUNTIMES if local else CLUSTER_TRAINING_RUNTIMES
        informer = self._informers.of(resource)
        where = namespace(train_job) if local else ""
        found = informer.get(where, wanted)
        if found is None:
            known = ", ".join(sorted(name(runtime) for runtime in informer.list(where))) or "none"
            raise RefusedError(
                f'{resource.kind} "{wanted}" does not exist; create it or name one of: {known}'
            )
        spec: Obj = found.get("spec") or {}
        return spec

    async def _report(self, train_job: Obj, jobset: Obj | None) -> Result | None:
        now = self._clock.now()
        pods = self._pods_of(train_job)
        status = status_of(train_job, jobset, pods, now)
        await self._write_status(train_job, status)
        if _exceeded(status):
            await self._delete_jobset(train_job)
        seen = {**train_job, "status": status}
        if has_ended(seen):
            return None
        await self._tell_waiting(train_job, pods)
        left = deadline_left(seen, now)
        return None if left is None else Result(max(left, 0.01))

    async def _delete_jobset(self, train_job: Obj) -> None:
        await self._client.delete(JOB_SETS, name(train_job), namespace(train_job), missing_ok=True)

    async def _write_status(self, train_job: Obj, status: Obj) -> None:
        before = train_job.get("status") or {}
        if status == before:
            return
        await self._client.replace_status(TRAIN_JOBS, {**train_job, "status": status})
        known = {c["type"]: c for c in before.get("conditions") or ()}
        for entry in status.get("conditions") or ():
            if known.get(entry["type"], {}).get("status") != entry["status"]:
                bad = entry["type"] == "Failed" and entry["status"] == "True"
                tell = self._recorder.warning if bad else self._recorder.normal
                await tell(train_job, entry["reason"], entry["message"])

    async def _tell_waiting(self, train_job: Obj, pods: list[Obj]) -> None:
        waiting = observation.waiting_for(pods)
        if waiting and self._waiting.get(key_of(train_job)) != waiting:
            await self._recorder.warning(train_job, "PodsWaiting", waiting)
        self._waiting[key_of(train_job)] = waiting

    async def _ensure(self, resource: Resource, obj: Obj) -> None:
        """Creates an object unless it is there: names are ours and the same in every pass."""
        try:
            await self._client.create(resource, obj)
        except AlreadyExists:
            return


def _exceeded(status: Obj) -> bool:
    return any(
        entry["type"] == "Failed" and entry.get("reason") == "DeadlineExceeded"
        for entry in status.get("conditions") or ()
    )
