"""Carrying out plans for OptimizationJobs."""

from __future__ import annotations

from typing import Final

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import AlreadyExists, ApiError
from kubeling.kube.objects import Key, Obj, deletion_requested, name, uid
from kubeling.tuning.optimization_job.plan import has_ended, plan
from kubeling.tuning.optimization_job.resources import OPTIMIZATION_JOBS, TRAIN_JOBS

__all__ = ["OptimizationJobReconciler", "optimization_job_controller"]

_COMPONENT: Final = "optimizationjob-controller"


def optimization_job_controller(context: Context) -> Controller:
    """The controller of OptimizationJobs."""
    reconciler = OptimizationJobReconciler(context)
    return Controller(
        name=_COMPONENT,
        resource=OPTIMIZATION_JOBS,
        reconcile=reconciler.reconcile,
        owns=(TRAIN_JOBS,),
    )


class OptimizationJobReconciler:
    """Moves OptimizationJobs towards their best trial."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder(_COMPONENT)
        self._jobs = context.informers.of(OPTIMIZATION_JOBS)
        self._train_jobs = context.informers.of(TRAIN_JOBS)

    async def reconcile(self, key: Key) -> Result | None:
        """One pass over one job."""
        job = self._jobs.get(*key)
        if job is None or deletion_requested(job) or has_ended(job):
            return None
        todo = plan(job, self._train_jobs.owned_by(uid(job)), self._clock.now())
        for trial in todo.create:
            await self._create(job, trial)
        if todo.status != (job.get("status") or {}):
            await self._client.replace_status(OPTIMIZATION_JOBS, {**job, "status": todo.status})
        await self._recorder.record(job, todo.notes)
        return None

    async def _create(self, job: Obj, trial: Obj) -> None:
        try:
            await self._client.create(TRAIN_JOBS, trial)
        except AlreadyExists:
            return  # Not in the cache yet.
        except ApiError as error:
            await self._recorder.warning(job, "TrainJobsCreationFailed", f"{name(trial)}: {error}")
            raise
        await self._recorder.normal(job, "TrialCreated", f"Created trainjob: {name(trial)}")
