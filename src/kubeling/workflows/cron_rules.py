"""When a CronWorkflow is due, and what is wrong with how it says so."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Iterator
from typing import Final

from kubeling.kube.cron import Schedule, ScheduleError, parse_schedule
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.workflows.expressions import ExpressionError, exprlang

__all__ = ["cron_errors", "moments", "schedules", "used_schedule"]

_ZONE: Final = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.*)")


def schedules(spec: Obj) -> list[str]:
    """The cron expressions of a CronWorkflow; ``schedule`` is the older spelling."""
    listed = list(spec.get("schedules") or ())
    return listed or ([spec["schedule"]] if spec.get("schedule") else [])


def used_schedule(spec: Obj) -> str:
    """All schedules in one text, as the annotation ``last-used-schedule`` keeps them."""
    zone = spec.get("timezone")
    prefix = f"CRON_TZ={zone} " if zone else ""
    return ",".join(prefix + schedule for schedule in schedules(spec))


def moments(
    text: str, spec: Obj, begin: dt.datetime, earliest: dt.datetime
) -> Iterator[dt.datetime]:
    """The moments of a schedule after ``earliest``; ``@every`` counts from ``begin``."""
    schedule, every = _parsed(text, spec)
    moment: dt.datetime | None = earliest
    if every:
        delay = (schedule.next(begin) or begin) - begin.replace(microsecond=0)
        moment = begin + delay * max(0, (earliest - begin) // delay)
    while moment is not None:
        moment = schedule.next(moment)
        if moment is not None and moment > earliest:
            yield moment


def _parsed(text: str, spec: Obj) -> tuple[Schedule, bool]:
    zone = spec.get("timezone") or "UTC"
    if found := _ZONE.fullmatch(text):
        zone, text = found.groups()
    return parse_schedule(text, zoneinfo.ZoneInfo(zone)), text.startswith("@every")


def cron_errors(spec: Obj) -> Iterator[FieldError]:
    """What is wrong with ``schedules``, ``timezone`` and ``stopStrategy``."""
    found = schedules(spec)
    if not found:
        message = 'give at least one cron expression, such as "0 6 * * *"'
        yield FieldError("spec.schedules", "Required value", message)
    timezone = spec.get("timezone")
    if timezone and timezone not in zoneinfo.available_timezones():
        yield FieldError("spec.timezone", "Invalid value", "is not a known time zone", timezone)
        spec = {**spec, "timezone": "UTC"}
    for number, schedule in enumerate(found):
        try:
            _parsed(schedule, spec)
        except (ScheduleError, zoneinfo.ZoneInfoNotFoundError) as error:
            message = f"cron schedule is malformed: {error}"
            yield FieldError(f"spec.schedules[{number}]", "Invalid value", message, schedule)
    strategy = spec.get("stopStrategy")
    if strategy is not None and not strategy.get("expression"):
        message = "say when to stop, such as cronworkflow.failed >= 3"
        yield FieldError("spec.stopStrategy.expression", "Required value", message)
    elif strategy is not None:
        try:
            exprlang.compile_expression(strategy["expression"])
        except ExpressionError as error:
            path = "spec.stopStrategy.expression"
            yield FieldError(path, "Invalid value", str(error), strategy["expression"])
