"""Recurring runs and CronWorkflows: what runs by itself, and when next."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from aiohttp import web

from kubeling.gateway.kinds import CRON_WORKFLOWS, RECURRING_RUNS, RUNS
from kubeling.gateway.pages.view import Views
from kubeling.gateway.rest import RestClient
from kubeling.kube.objects import parse_time

__all__ = ["next_times", "schedule_list", "upcoming"]

_SHOWN: Final = 5


async def schedule_list(views: Views, rest: RestClient, request: web.Request) -> web.Response:
    """What is scheduled, of pipelines and of workflows."""
    listed = await rest.get(
        "/apis/v2beta1/recurringruns", page_size="100", sort_by="created_at desc"
    )
    jobs = listed.get("recurringRuns") or []
    now = views.context.clock.now()
    return views.page(
        request,
        "schedules.html",
        "/pipelines",
        "Recurring runs",
        (RECURRING_RUNS, CRON_WORKFLOWS, RUNS),
        jobs=[(job, _when(job), _next(job, now)) for job in jobs],
        crons=await views.objects(CRON_WORKFLOWS),
    )


async def next_times(views: Views, request: web.Request) -> web.Response:
    """The next times of a cron expression, as a fragment of the form that asks for one."""
    cron = request.query.get("cron", "").strip()
    values: dict[str, Any] = {"times": [], "wrong": ""}
    if cron:
        try:
            values["times"] = upcoming({"cron_schedule": {"cron": cron}}, views.context.clock.now())
        except ValueError as error:
            values["wrong"] = str(error)
    text = views.templates.get_template("next_times.html").render(**values)
    return web.Response(text=text, content_type="text/html")


def upcoming(trigger: dict[str, Any], now: dt.datetime, count: int = _SHOWN) -> list[str]:
    """The next times of a trigger, in RFC 3339; raises :class:`ValueError` if it has none."""
    # The schedule's own reading, so that what is shown is what happens.
    from kubeling.pipelines.resources import CronSchedule, PeriodicSchedule, Trigger
    from kubeling.pipelines.schedule import check_trigger, next_time

    cron, every = trigger.get("cron_schedule") or {}, trigger.get("periodic_schedule") or {}
    shared = {
        "start_time": _time((cron or every).get("start_time")),
        "end_time": _time((cron or every).get("end_time")),
    }
    schedule = Trigger(
        cron_schedule=CronSchedule(cron=str(cron["cron"]), **shared) if cron else None,
        periodic_schedule=PeriodicSchedule(interval_second=int(every["interval_second"]), **shared)
        if every
        else None,
    )
    check_trigger(schedule)
    found: list[str] = []
    last = now
    for _ in range(count):
        due = next_time(schedule, last, now)
        if due is None:
            break
        found.append(due.isoformat())
        last = due
    return found


def _time(moment: Any) -> str:
    """A time of the API's; unset ones are of 1970 there."""
    return str(moment) if moment and parse_time(str(moment)).timestamp() > 0 else ""


def _next(job: dict[str, Any], now: dt.datetime) -> str:
    if job.get("status") != "ENABLED":
        return ""
    try:
        return next(iter(upcoming(job.get("trigger") or {}, now, 1)), "")
    except (ValueError, KeyError):
        return ""


def _when(job: dict[str, Any]) -> str:
    trigger = job.get("trigger") or {}
    if cron := trigger.get("cron_schedule"):
        return str(cron.get("cron"))
    if every := trigger.get("periodic_schedule"):
        return f"every {every.get('interval_second')} s"
    return ""
