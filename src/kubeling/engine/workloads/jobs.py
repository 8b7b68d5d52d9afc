"""Jobs: pods that run to their end, as often as asked for."""

from __future__ import annotations

from typing import Final

from kubeling.component import Context
from kubeling.engine.workloads.job_plan import INDEX, JobPlan, finished_at, plan
from kubeling.engine.workloads.podcontrol import PodControl
from kubeling.engine.workloads.podstate import generated_name, pod_from_template
from kubeling.engine.workloads.writing import write_status
from kubeling.kube.controller import Controller, Result
from kubeling.kube.objects import Key, Obj, deletion_requested, name, namespace, uid
from kubeling.kube.resources import JOBS, PODS

__all__ = ["controller", "job_pod"]

_MANAGER: Final = "kubernetes.io/job-controller"


def controller(context: Context) -> Controller:
    """The Job controller."""
    return Controller("job-controller", JOBS, _Jobs(context).reconcile, owns=(PODS,))


def job_pod(job: Obj, index: int | None = None) -> Obj:
    """A new pod of the Job's; an Indexed one is told its index."""
    marks = {
        "batch.kubernetes.io/controller-uid": uid(job),
        "batch.kubernetes.io/job-name": name(job),
        "controller-uid": uid(job),
        "job-name": name(job),
    }
    template = job["spec"]["template"]
    if index is None:
        title = generated_name(f"{name(job)}-")
        return pod_from_template(template, job, title, labels=marks)
    pod = pod_from_template(
        template,
        job,
        generated_name(f"{name(job)}-{index}-"),
        labels={**marks, INDEX: str(index)},
        annotations={INDEX: str(index)},
    )
    spec = pod["spec"]
    spec.setdefault("hostname", f"{name(job)}-{index}"[:63])
    field = f"metadata.labels['{INDEX}']"
    variable: Obj = {
        "name": "JOB_COMPLETION_INDEX",
        "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": field}},
    }
    for container in [*spec.get("containers", ()), *spec.get("initContainers", ())]:
        container["env"] = [
            *(e for e in container.get("env") or () if e["name"] != variable["name"]),
            variable,
        ]
    return pod


class _Jobs:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("job-controller")
        self._jobs = context.informers.of(JOBS)
        self._pods = context.informers.of(PODS)
        self._control = PodControl(context, "job-controller")

    async def reconcile(self, key: Key) -> Result | None:
        job = self._jobs.get(*key)
        if job is None or deletion_requested(job):
            return None
        if job["spec"].get("managedBy") not in (None, _MANAGER):
            return None
        if finished_at(job) is not None:
            return await self._expire(job)
        todo = plan(job, self._pods.owned_by(uid(job)), self._clock.now())
        await self._control.delete_all(job, todo.delete)
        await self._create(job, todo)
        if todo.create or todo.create_at:
            fresh = plan(job, self._pods.owned_by(uid(job)), self._clock.now())
            todo.status = fresh.status
        if await write_status(self._client, JOBS, job, todo.status):
            for severity, reason, message in todo.events:
                record = self._recorder.normal if severity == "Normal" else self._recorder.warning
                await record(job, reason, message)
        return None if todo.requeue_after is None else Result(todo.requeue_after)

    async def _create(self, job: Obj, todo: JobPlan) -> None:
        pods = [job_pod(job, index) for index in todo.create_at]
        pods += [job_pod(job) for _ in range(todo.create)]
        await self._control.create_all(job, pods)

    async def _expire(self, job: Obj) -> Result | None:
        """Deletes a finished Job when its time is over."""
        ended, kept = finished_at(job), job["spec"].get("ttlSecondsAfterFinished")
        if ended is None or kept is None:
            return None
        left = float(kept) - (self._clock.now() - ended).total_seconds()
        if left > 0:
            return Result(left)
        await self._client.delete(
            JOBS,
            name(job),
            namespace(job),
            propagation="Foreground",
            uid=uid(job),
            missing_ok=True,
        )
        return None
