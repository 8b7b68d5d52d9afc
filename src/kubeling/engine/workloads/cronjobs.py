"""CronJobs: Jobs made by the clock."""

from __future__ import annotations

import datetime as dt
from typing import Final

from kubeling.component import Context
from kubeling.engine.workloads.cron_schedule import InvalidSchedule, due
from kubeling.engine.workloads.job_status import finished_at
from kubeling.engine.workloads.writing import write_status
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.objects import (
    Key,
    Obj,
    deep_copy,
    deletion_requested,
    format_time,
    is_condition_true,
    name,
    namespace,
    new_object,
    owner_reference,
    parse_time,
    resource_version,
    uid,
)
from kubeling.kube.resources import CRON_JOBS, JOBS

__all__ = ["controller", "job_for"]

_SCHEDULED: Final = "batch.kubernetes.io/cronjob-scheduled-timestamp"


def controller(context: Context) -> Controller:
    """The CronJob controller."""
    return Controller("cronjob-controller", CRON_JOBS, _CronJobs(context).reconcile, owns=(JOBS,))


def job_for(cron_job: Obj, scheduled: dt.datetime) -> Obj:
    """The Job of one run; its name says which, so that no run starts twice."""
    template = cron_job["spec"]["jobTemplate"]
    metadata = template.get("metadata") or {}
    job = new_object(
        JOBS,
        f"{name(cron_job)[:52]}-{int(scheduled.timestamp()) // 60}",
        namespace(cron_job),
        labels=metadata.get("labels"),
        annotations={**(metadata.get("annotations") or {}), _SCHEDULED: format_time(scheduled)},
        owner=cron_job,
    )
    job["spec"] = deep_copy(template["spec"])
    return job


class _CronJobs:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("cronjob-controller")
        self._cron_jobs = context.informers.of(CRON_JOBS)
        self._jobs = context.informers.of(JOBS)

    async def reconcile(self, key: Key) -> Result | None:
        cron_job = self._cron_jobs.get(*key)
        if cron_job is None or deletion_requested(cron_job):
            return None
        status = self._observe(cron_job)
        await self._tidy(cron_job)
        wait = None
        if not cron_job["spec"].get("suspend"):
            wait = await self._keep_schedule(cron_job, status)
        await write_status(self._client, CRON_JOBS, cron_job, status)
        return wait

    def _observe(self, cron_job: Obj) -> Obj:
        status: Obj = deep_copy(cron_job.get("status") or {})
        jobs = self._jobs.owned_by(uid(cron_job))
        status["active"] = [_reference(job) for job in jobs if finished_at(job) is None]
        if not status["active"]:
            del status["active"]
        ends = [
            job["status"]["completionTime"]
            for job in jobs
            if is_condition_true(job, "Complete") and "completionTime" in job["status"]
        ]
        if ends:
            latest = max([*ends, status.get("lastSuccessfulTime") or ""])
            status["lastSuccessfulTime"] = latest
        return status

    async def _keep_schedule(self, cron_job: Obj, status: Obj) -> Result | None:
        now = self._clock.now()
        try:
            found = due(cron_job, now)
        except InvalidSchedule as error:
            await self._recorder.warning(cron_job, "UnparseableSchedule", str(error))
            return None
        wait = Result((found.next - now).total_seconds())
        if found.now is not None:
            await self._run(cron_job, status, found.now)
        return wait

    async def _run(self, cron_job: Obj, status: Obj, scheduled: dt.datetime) -> None:
        active = [job for job in self._jobs.owned_by(uid(cron_job)) if finished_at(job) is None]
        policy = cron_job["spec"].get("concurrencyPolicy", "Allow")
        if policy == "Forbid" and active:
            message = "Not starting job because prior execution is running and concurrency policy"
            await self._recorder.normal(cron_job, "JobAlreadyActive", f"{message} is Forbid")
            return
        if policy == "Replace":
            for job in active:
                await self._client.delete(
                    JOBS, name(job), namespace(job), propagation="Background", missing_ok=True
                )
        job = job_for(cron_job, scheduled)
        try:
            created = await self._client.create(JOBS, job)
        except AlreadyExists:
            created = None
        if created is not None:
            message = f"Created job {name(created)}"
            await self._recorder.normal(cron_job, "SuccessfulCreate", message)
            status["active"] = [*status.get("active", ()), _reference(created)]
        status["lastScheduleTime"] = format_time(scheduled)

    async def _tidy(self, cron_job: Obj) -> None:
        """Deletes the oldest finished Jobs beyond the limits."""
        spec = cron_job["spec"]
        ended = [j for j in self._jobs.owned_by(uid(cron_job)) if finished_at(j) is not None]
        ended.sort(key=lambda job: parse_time(job["metadata"]["creationTimestamp"]))
        for type_, limit in (
            ("Complete", spec.get("successfulJobsHistoryLimit", 3)),
            ("Failed", spec.get("failedJobsHistoryLimit", 1)),
        ):
            these = [job for job in ended if is_condition_true(job, type_)]
            for job in these[: max(0, len(these) - int(limit))]:
                await self._client.delete(
                    JOBS, name(job), namespace(job), propagation="Background", missing_ok=True
                )
                message = f"Deleted job {name(job)}"
                await self._recorder.normal(cron_job, "SuccessfulDelete", message)


def _reference(job: Obj) -> Obj:
    reference = owner_reference(job, controller=False)
    return {**reference, "namespace": namespace(job), "resourceVersion": resource_version(job)}
