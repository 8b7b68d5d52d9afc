"""Jobs: pods that run to their end, as often as asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kubeling.component import Context
from kubeling.engine.workloads.job_plan import JobPlan, count, plan
from kubeling.engine.workloads.job_pods import TRACKING, is_tracked, job_pod
from kubeling.engine.workloads.job_status import finish, finished_at, settle
from kubeling.engine.workloads.ownership import claim
from kubeling.engine.workloads.podcontrol import PodControl
from kubeling.engine.workloads.sightings import Sightings
from kubeling.engine.workloads.writing import all_of
from kubeling.kube import selectors
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import ApiError, NotFound
from kubeling.kube.objects import (
    Key,
    Obj,
    controller_of,
    deep_copy,
    deletion_requested,
    key_of,
    name,
    namespace,
    uid,
)
from kubeling.kube.resources import JOBS, PODS

__all__ = ["controller", "strays_controller"]

_MANAGER: Final = "kubernetes.io/job-controller"


def controller(context: Context) -> Controller:
    """The Job controller."""
    return Controller("job-controller", JOBS, _Jobs(context).reconcile, owns=(PODS,))


def strays_controller(context: Context) -> Controller:
    """Lets pods go that were held for a Job that no longer counts them."""
    strays = _Strays(context)
    return Controller("job-strays", JOBS, strays.reconcile, watches={PODS: strays.key_of_stray})


class _Jobs:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("job-controller")
        self._jobs = context.informers.of(JOBS)
        self._pods = context.informers.of(PODS)
        self._control = PodControl(context, "job-controller")
        self._releases = Releases(context)

    async def reconcile(self, key: Key) -> Result | None:
        job = self._jobs.get(*key)
        if job is None:
            return None
        if finished_at(job) is not None:
            return None if deletion_requested(job) else await self._expire(job)
        if job["spec"].get("managedBy") not in (None, _MANAGER):
            return None
        if deletion_requested(job):
            await self._releases.release(self._pods.owned_by(uid(job)))
            return None
        if job["spec"].get("manualSelector"):
            selector = selectors.from_object(job["spec"]["selector"])
            await claim(self._client, self._pods, job, selector, finalizer=TRACKING)
        return await self._advance(job)

    async def _advance(self, job: Obj) -> Result | None:
        pods = self._pods.owned_by(uid(job))
        todo = plan(job, pods, self._clock.now(), self._releases.released(pods))
        await self._control.delete_all(job, todo.delete)
        await self._releases.release(todo.discard)
        await self._control.delete_all(job, todo.discard)
        refusal = await self._create(job, todo)
        count(todo.status, self._pods.owned_by(uid(job)))
        written = await self._write(job, todo.status)
        for severity, reason, message in todo.events:
            record = self._recorder.normal if severity == "Normal" else self._recorder.warning
            await record(job, reason, message)
        await self._conclude(written, todo)
        if refusal is not None:
            raise refusal
        return None if todo.requeue_after is None else Result(todo.requeue_after)

    async def _create(self, job: Obj, todo: JobPlan) -> ApiError | None:
        pods = [job_pod(job, index, tries) for index, tries in todo.create_at.items()]
        pods += [job_pod(job) for _ in range(todo.create)]
        try:
            await self._control.create_all(job, pods)
        except ApiError as refusal:
            return refusal
        return None

    async def _conclude(self, job: Obj, todo: JobPlan) -> None:
        """Lets the pods go that were noted, counts them, and ends the Job if that was all."""
        await self._releases.release(todo.release)
        status: Obj = deep_copy(job["status"])
        pods = self._pods.owned_by(uid(job))
        released = self._releases.released(pods)
        settle(status, {uid(p) for p in pods if is_tracked(p) and uid(p) not in released})
        count(status, pods)
        outcome, now = todo.outcome, self._clock.now()
        ended = outcome is not None and not todo.more_to_release and finish(status, outcome, now)
        await self._write(job, status)
        if ended and outcome is not None:
            if outcome.succeeded:
                await self._recorder.normal(job, "Completed", "Job completed")
            else:
                await self._recorder.warning(job, outcome.reason, outcome.message)

    async def _write(self, job: Obj, status: Obj) -> Obj:
        if status == (job.get("status") or {}):
            return job
        wanted = {**job, "metadata": dict(job["metadata"]), "status": status}
        return await self._client.replace_status(JOBS, wanted)

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


class Releases:
    """Takes the finalizer off pods that have been counted.

    Remembers whose is gone for as long as the cache still shows it, so that no pod counts twice.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._sightings = Sightings(context.informers.of(PODS))
        self._gone: set[str] = set()

    def released(self, pods: Iterable[Obj]) -> frozenset[str]:
        """Which of these pods are held no longer, whatever the cache says."""
        shown = {uid(pod): is_tracked(pod) for pod in pods}
        self._gone -= {known for known in self._gone if shown.get(known) is False}
        return frozenset(self._gone & shown.keys())

    async def release(self, pods: Iterable[Obj]) -> None:
        """Lets pods go, if they are held."""
        await all_of(self._release(pod) for pod in pods if is_tracked(pod))

    async def _release(self, pod: Obj) -> None:
        seen = self._sightings.expect(key_of(pod))
        patch = {"metadata": {"uid": uid(pod), "$deleteFromPrimitiveList/finalizers": [TRACKING]}}
        try:
            await self._client.patch(PODS, name(pod), patch, namespace(pod), type="strategic")
        except NotFound:
            seen.cancel()
            self._gone.add(uid(pod))
            return
        except ApiError:
            seen.cancel()
            raise
        self._gone.add(uid(pod))
        await self._sightings.arrived(seen)


class _Strays:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._jobs = context.informers.of(JOBS)
        self._pods = context.informers.of(PODS)
        self._releases = Releases(context)

    def key_of_stray(self, pod: Obj) -> list[Key]:
        """The pod's key, should nobody count it."""
        return [key_of(pod)] if is_tracked(pod) and self._is_stray(pod) else []

    async def reconcile(self, key: Key) -> None:
        pod = self._pods.get(*key)
        if pod is None or not is_tracked(pod) or not self._is_stray(pod):
            return
        owner = controller_of(pod)
        if owner is not None and owner["kind"] == "Job" and self._job(pod, owner) is None:
            # The cache may not show it yet.
            live = await self._client.find(JOBS, owner["name"], namespace(pod))
            if live is not None and uid(live) == owner["uid"]:
                return
        await self._releases.release([pod])

    def _is_stray(self, pod: Obj) -> bool:
        owner = controller_of(pod)
        if owner is None:
            return True
        if owner["kind"] != "Job" or not owner["apiVersion"].startswith("batch/"):
            # Somebody else's pod, that borrows the finalizer.
            return False
        job = self._job(pod, owner)
        if job is None:
            return True
        managed = job["spec"].get("managedBy") in (None, _MANAGER)
        return managed and finished_at(job) is not None

    def _job(self, pod: Obj, owner: Obj) -> Obj | None:
        job = self._jobs.get(namespace(pod), owner["name"])
        return job if job is not None and uid(job) == owner["uid"] else None
