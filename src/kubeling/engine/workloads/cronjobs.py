"""CronJobs: Jobs made by the clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Final
from zoneinfo import ZoneInfo

from kubeling.component import Context
from kubeling.engine.workloads.cron_schedule import UnknownTimeZone, due, schedule_of
from kubeling.engine.workloads.job_status import finished_at
from kubeling.engine.workloads.writing import write_status
from kubeling.kube.controller import Controller, Result
from kubeling.kube.cron import ScheduleError
from kubeling.kube.errors import AlreadyExists, ApiError
from kubeling.kube.objects import (
    Key,
    Obj,
    controller_of,
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
    told = {_SCHEDULED: _local(cron_job, scheduled)}
    job = new_object(
        JOBS,
        f"{name(cron_job)[:52]}-{int(scheduled.timestamp()) // 60}",
        namespace(cron_job),
        labels=metadata.get("labels"),
        annotations={**(metadata.get("annotations") or {}), **told},
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
        if cron_job is None:
            return None
        await self._tidy(cron_job)
        cron_job = await self._with_own_jobs(cron_job)
        status = await self._observe(cron_job)
        wait = None
        if not (deletion_requested(cron_job) or cron_job["spec"].get("suspend")):
            wait = await self._keep_schedule(cron_job, status)
        await write_status(self._client, CRON_JOBS, cron_job, status)
        return wait

    async def _with_own_jobs(self, cron_job: Obj) -> Obj:
        """The CronJob as it is now, if the cache does not know of all Jobs that it made."""
        strange = _strangers(cron_job, self._jobs.owned_by(uid(cron_job)))
        if strange:
            cron_job = await self._client.get(CRON_JOBS, name(cron_job), namespace(cron_job))
            for job in _strangers(cron_job, strange):
                message = f"Saw a job that the controller did not create or forgot: {name(job)}"
                await self._recorder.warning(cron_job, "UnexpectedJob", message)
        return cron_job

    async def _observe(self, cron_job: Obj) -> Obj:
        status: Obj = deep_copy(cron_job.get("status") or {})
        jobs = {uid(job): job for job in self._jobs.owned_by(uid(cron_job))}
        active = []
        for reference in status.pop("active", None) or ():
            job = jobs.get(reference["uid"])
            title = reference["name"]
            if job is None:
                job = await self._client.find(JOBS, title, namespace(cron_job))
            if job is None or uid(job) != reference["uid"]:
                message = f"Active job went missing: {title}"
                await self._recorder.normal(cron_job, "MissingJob", message)
            elif finished_at(job) is None:
                active.append(reference)
            else:
                end = "Complete" if is_condition_true(job, "Complete") else "Failed"
                message = f"Saw completed job: {title}, condition: {end}"
                await self._recorder.normal(cron_job, "SawCompletedJob", message)
        if active:
            status["active"] = active
        ends = [
            job["status"]["completionTime"]
            for job in jobs.values()
            if is_condition_true(job, "Complete") and "completionTime" in job["status"]
        ]
        if ends:
            latest = max([*ends, status.get("lastSuccessfulTime") or ""])
            status["lastSuccessfulTime"] = latest
        return status

    async def _keep_schedule(self, cron_job: Obj, status: Obj) -> Result | None:
        now = self._clock.now()
        try:
            found = due({**cron_job, "status": status}, schedule_of(cron_job), now)
        except UnknownTimeZone as error:
            await self._recorder.warning(cron_job, "UnknownTimeZone", str(error))
            return None
        except ScheduleError as error:
            message = f'unparseable schedule: "{cron_job["spec"]["schedule"]}" : {error}'
            await self._recorder.warning(cron_job, "UnparseableSchedule", message)
            return None
        if found.many:
            message = (
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or "
                "check clock skew"
            )
            await self._recorder.warning(cron_job, "TooManyMissedTimes", message)
        if found.now is not None:
            await self._run(cron_job, status, found.now)
        return Result((found.next - now).total_seconds()) if found.next else None

    async def _run(self, cron_job: Obj, status: Obj, scheduled: dt.datetime) -> None:
        job = job_for(cron_job, scheduled)
        active = status.get("active") or []
        if any(reference["name"] == name(job) for reference in active):
            return
        policy = cron_job["spec"].get("concurrencyPolicy", "Allow")
        if policy == "Forbid" and active:
            message = "Not starting job because prior execution is running and concurrency policy"
            await self._recorder.normal(cron_job, "JobAlreadyActive", f"{message} is Forbid")
            return
        if policy == "Replace":
            for reference in active:
                await self._delete(cron_job, reference["name"])
            active = []
        try:
            created = await self._client.create(JOBS, job)
        except AlreadyExists:
            # Made before a crash that lost the status; or by somebody else.
            created = await self._client.get(JOBS, name(job), namespace(job))
            if (controller_of(created) or {}).get("uid") != uid(cron_job):
                return
        except ApiError as error:
            message = f"Error creating job: {error}"
            await self._recorder.warning(cron_job, "FailedCreate", message)
            raise
        else:
            message = f"Created job {name(created)}"
            await self._recorder.normal(cron_job, "SuccessfulCreate", message)
        status["active"] = [*active, _reference(created)]
        status["lastScheduleTime"] = format_time(scheduled)

    async def _delete(self, cron_job: Obj, title: str) -> None:
        await self._client.delete(
            JOBS, title, namespace(cron_job), propagation="Background", missing_ok=True
        )
        await self._recorder.normal(cron_job, "SuccessfulDelete", f"Deleted job {title}")

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
                await self._delete(cron_job, name(job))


def _strangers(cron_job: Obj, jobs: Iterable[Obj]) -> list[Obj]:
    """Jobs at work that the CronJob's status does not tell of."""
    known = {reference["uid"] for reference in (cron_job.get("status") or {}).get("active") or ()}
    return [job for job in jobs if uid(job) not in known and finished_at(job) is None]


def _local(cron_job: Obj, moment: dt.datetime) -> str:
    zone = cron_job["spec"].get("timeZone")
    local = moment.astimezone(ZoneInfo(zone) if zone else dt.UTC)
    return local.isoformat(timespec="seconds").replace("+00:00", "Z")


def _reference(job: Obj) -> Obj:
    reference = owner_reference(job, controller=False)
    return {**reference, "namespace": namespace(job), "resourceVersion": resource_version(job)}
