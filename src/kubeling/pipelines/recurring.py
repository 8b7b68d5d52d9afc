"""The controller of recurring runs: creates a Run whenever one is due.

The name of each Run follows from the moment it is due, so a moment gets one Run however often the
controller is killed. Missed moments are made up for unless ``noCatchup`` is set, when only the
last of them is; there are never more than ``maxConcurrency`` runs at once.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import zoneinfo
from collections.abc import Iterable
from typing import Final

from kubeling.component import Context
from kubeling.kube.controller import Controller, Result
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.objects import (
    Key,
    Obj,
    deletion_requested,
    format_time,
    labels,
    name,
    namespace,
    new_object,
    parse_time,
    uid,
)
from kubeling.pipelines.macros import expand_macros
from kubeling.pipelines.records import FINAL_STATES
from kubeling.pipelines.resources import (
    RECURRING_RUNS,
    RUNS,
    RecurringRunSpec,
    decode_recurring_run,
)
from kubeling.pipelines.schedule import ScheduleError, check_trigger, latest_time, next_time
from kubeling.pipelines.settings import pipeline_settings

__all__ = ["RECURRING_RUN", "recurring_run_controller"]

RECURRING_RUN: Final = "pipelines.kubeflow.org/recurring-run"


def recurring_run_controller(context: Context) -> Controller:
    """The controller of RecurringRuns."""
    reconciler = _Reconciler(context)
    return Controller(
        "recurring-run", RECURRING_RUNS, reconciler.reconcile, watches={RUNS: _owner}, workers=2
    )


def _owner(run: Obj) -> Iterable[Key]:
    job = labels(run).get(RECURRING_RUN)
    return (Key(namespace(run), job),) if job else ()


class _Reconciler:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._clock = context.clock
        self._jobs = context.informers.of(RECURRING_RUNS)
        self._runs = context.informers.of(RUNS)
        self._recorder = context.recorder("pipeline-scheduler")
        settings = pipeline_settings(context.settings.rooms.get("pipelines", {}), os.environ)
        self._zone = settings.cron_timezone or "UTC"

    async def reconcile(self, key: Key) -> Result | None:
        """Files the RecurringRun, creates what is due, and comes back for the next."""
        job = self._jobs.get(*key)
        if job is None or deletion_requested(job):
            return None
        await self._file(job)
        spec = decode_recurring_run(job)
        try:
            check_trigger(spec.trigger)
            zone = zoneinfo.ZoneInfo(self._zone)
        except ScheduleError as error:
            await self._recorder.warning(job, "InvalidTrigger", str(error))
            return None
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            text = f"pipelines.cron_timezone (CRON_SCHEDULE_TIMEZONE): no time zone {self._zone!r}"
            await self._recorder.warning(job, "InvalidTimeZone", text)
            return None
        return await self._fire(job, spec, zone)

    async def _file(self, job: Obj) -> None:
        database = await self._context.open_database()
        from kubeling.pipelines.recurring_store import file_recurring_run

        now = self._clock.now()
        await database.run(lambda c: file_recurring_run(c, job, now))

    async def _fire(self, job: Obj, spec: RecurringRunSpec, zone: dt.tzinfo) -> Result | None:
        status, now = job.get("status") or {}, self._clock.now()
        created = parse_time(job["metadata"]["creationTimestamp"])
        last = parse_time(status["lastScheduledAt"]) if status.get("lastScheduledAt") else None
        active = self._active(job)
        due = next_time(spec.trigger, last, created, zone)
        if due is not None and due <= now and spec.no_catchup:
            due = latest_time(spec.trigger, due, now, created, zone)
        is_free = spec.enabled and len(active) < spec.max_concurrency
        if due is None or due > now or not is_free:
            await self._tell(job, active=active, next_at=due if spec.enabled else None)
            # The end of a run wakes this up where there are too many.
            waits = due is not None and is_free
            return Result((due - now).total_seconds()) if waits and due is not None else None
        index = int(status.get("index", 0)) + 1
        run = await self._create(job, spec, due, index)
        next_at = next_time(spec.trigger, due, created, zone)
        await self._tell(
            job, active=[*active, run], next_at=next_at, last=format_time(due), index=index
        )
        return Result(0.01)

    def _active(self, job: Obj) -> list[str]:
        """The runs that it has created and that have not ended."""
        found = []
        for run_name in (job.get("status") or {}).get("active") or ():
            run = self._runs.get(namespace(job), run_name)
            if run is not None and (run.get("status") or {}).get("state") not in FINAL_STATES:
                found.append(run_name)
        return found

    async def _create(self, job: Obj, spec: RecurringRunSpec, due: dt.datetime, index: int) -> str:
        now = self._clock.now()
        body: Obj = {**job["spec"]["run"], "recurringRunID": uid(job)}
        body["scheduledAt"] = format_time(due)
        if parameters := spec.run.parameters:
            config = {**(body.get("runtimeConfig") or {})}
            config["parameters"] = expand_macros(parameters, due, now, index)
            body["runtimeConfig"] = config
        own_name = f"{name(job)[:230]}-{int(due.timestamp())}"
        body["displayName"] = f"{spec.run.display_name or name(job)}-{int(due.timestamp())}"
        await self._resolve(body)
        run = new_object(
            RUNS, own_name, namespace(job), labels={RECURRING_RUN: name(job)}, spec=body
        )
        with contextlib.suppress(AlreadyExists):  # created before a crash
            await self._client.create(RUNS, run)
            await self._recorder.normal(job, "RunCreated", f"Created run {own_name}")
        return own_name

    async def _resolve(self, body: Obj) -> None:
        """Without a version, each run takes the latest there is at its time."""
        reference = body.get("pipelineVersionReference")
        if reference is None or reference.get("pipelineVersionID"):
            return
        database = await self._context.open_database()
        from kubeling.pipelines.store import latest_version

        pipeline_id = reference["pipelineID"]
        if version := await database.run(lambda c: latest_version(c, pipeline_id)):
            body["pipelineVersionReference"] = {**reference, "pipelineVersionID": version}

    async def _tell(
        self,
        job: Obj,
        *,
        active: list[str],
        next_at: dt.datetime | None,
        last: str = "",
        index: int = 0,
    ) -> None:
        """Writes the status if it says something new."""
        before = job.get("status") or {}
        status: Obj = {
            "active": active,
            "nextScheduledAt": format_time(next_at) if next_at is not None else None,
        }
        if last:
            status |= {"lastScheduledAt": last, "index": index}
        if any((before.get(key) or None) != (value or None) for key, value in status.items()):
            await self._client.patch_status(RECURRING_RUNS, name(job), status, namespace(job))
