"""The controller of recurring runs: creates a Run whenever one is due.

The name of each Run follows from the moment it is due, so a moment gets one Run however often the
controller is killed. Missed moments are made up for unless ``noCatchup`` is set, never with more
than ``maxConcurrency`` runs at once.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import zoneinfo
from collections.abc import Iterable, Mapping
from typing import Any, Final

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
from kubeling.pipelines.records import FINAL_STATES
from kubeling.pipelines.resources import (
    RECURRING_RUNS,
    RUNS,
    RecurringRunSpec,
    decode_recurring_run,
)
from kubeling.pipelines.schedule import ScheduleError, check_trigger, next_time

__all__ = ["RECURRING_RUN", "expand_macros", "recurring_run_controller"]

RECURRING_RUN: Final = "pipelines.kubeflow.org/recurring-run"
_MACRO: Final = re.compile(r"\[\[(ScheduledTime|CurrentTime|Index|RunUUID)(?:\.([^\]]*))?\]\]")
_GO_TIME: Final = (
    ("2006", "%Y"), ("01", "%m"), ("02", "%d"), ("15", "%H"), ("04", "%M"), ("05", "%S"),
)  # fmt: skip


def recurring_run_controller(context: Context) -> Controller:
    """The controller of RecurringRuns."""
    reconciler = _Reconciler(context)
    return Controller(
        "recurring-run", RECURRING_RUNS, reconciler.reconcile, watches={RUNS: _owner}, workers=2
    )


def expand_macros(value: Any, scheduled: dt.datetime, now: dt.datetime, index: int) -> Any:
    """Parameter values with ``[[ScheduledTime]]`` and its relatives replaced."""
    if isinstance(value, Mapping):
        return {key: expand_macros(item, scheduled, now, index) for key, item in value.items()}
    if isinstance(value, list):
        return [expand_macros(item, scheduled, now, index) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        match match[1]:
            case "Index":
                return str(index)
            case "RunUUID":
                return "{{$.pipeline_job_uuid}}"
            case kind:
                moment = scheduled if kind == "ScheduledTime" else now
                return moment.strftime(_time_format(match[2] or "20060102150405"))

    return _MACRO.sub(replace, value)


def _time_format(layout: str) -> str:
    for go, python in _GO_TIME:
        layout = layout.replace(go, python)
    return layout


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
        self._zone = zoneinfo.ZoneInfo(os.environ.get("CRON_SCHEDULE_TIMEZONE") or "UTC")

    async def reconcile(self, key: Key) -> Result | None:
        """Files the RecurringRun, creates what is due, and comes back for the next."""
        job = self._jobs.get(*key)
        if job is None or deletion_requested(job):
            return None
        await self._file(job)
        spec = decode_recurring_run(job)
        try:
            check_trigger(spec.trigger)
        except ScheduleError as error:
            await self._recorder.warning(job, "InvalidTrigger", str(error))
            return None
        return await self._fire(job, spec) if spec.enabled else None

    async def _file(self, job: Obj) -> None:
        database = await self._context.open_database()
        from kubeling.pipelines.recurring_store import file_recurring_run

        now = self._clock.now()
        await database.run(lambda c: file_recurring_run(c, job, now))

    async def _fire(self, job: Obj, spec: RecurringRunSpec) -> Result | None:
        status = job.get("status") or {}
        now = self._clock.now()
        created = parse_time(job["metadata"]["creationTimestamp"])
        last = parse_time(status["lastScheduledAt"]) if status.get("lastScheduledAt") else None
        due = next_time(spec.trigger, last, created, self._zone)
        if due is None:
            return None
        if due > now:
            return Result((due - now).total_seconds())
        if spec.no_catchup:
            due = self._latest(spec, due, created, now)
        if len(self._active(job)) >= spec.max_concurrency:
            return None  # the end of a run wakes this up
        await self._create(job, spec, due, int(status.get("index", 0)) + 1)
        return Result(0.01)

    def _latest(
        self, spec: RecurringRunSpec, due: dt.datetime, created: dt.datetime, now: dt.datetime
    ) -> dt.datetime:
        while (later := next_time(spec.trigger, due, created, self._zone)) and later <= now:
            due = later
        return due

    def _active(self, job: Obj) -> list[Obj]:
        return [
            run
            for run in self._runs.list(namespace(job))
            if labels(run).get(RECURRING_RUN) == name(job)
            and (run.get("status") or {}).get("state") not in FINAL_STATES
        ]

    async def _create(self, job: Obj, spec: RecurringRunSpec, due: dt.datetime, index: int) -> None:
        now = self._clock.now()
        body: Obj = {**job["spec"]["run"], "recurringRunID": uid(job)}
        body["scheduledAt"] = format_time(due)
        if parameters := spec.run.parameters:
            config = {**(body.get("runtimeConfig") or {})}
            config["parameters"] = expand_macros(parameters, due, now, index)
            body["runtimeConfig"] = config
        own_name = f"{name(job)[:230]}-{int(due.timestamp())}"
        body["displayName"] = f"{spec.run.display_name or name(job)}-{int(due.timestamp())}"
        run = new_object(
            RUNS, own_name, namespace(job), labels={RECURRING_RUN: name(job)}, spec=body
        )
        with contextlib.suppress(AlreadyExists):  # created before a crash
            await self._client.create(RUNS, run)
            await self._recorder.normal(job, "RunCreated", f"Created run {own_name}")
        status = {"lastScheduledAt": format_time(due), "index": index}
        await self._client.patch_status(RECURRING_RUNS, name(job), status, namespace(job))
