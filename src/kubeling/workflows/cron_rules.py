"""What is wrong with a CronWorkflow's times."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["cron_errors", "schedules"]


def schedules(spec: Obj) -> list[str]:
    """The cron expressions of a CronWorkflow; ``schedule`` is the older spelling."""
    listed = list(spec.get("schedules") or ())
    return listed or ([spec["schedule"]] if spec.get("schedule") else [])


def cron_errors(spec: Obj) -> Iterator[FieldError]:
    """What is wrong with ``schedules`` and ``timezone``."""
    from croniter import croniter

    found = schedules(spec)
    if not found:
        message = 'give at least one cron expression, such as "0 6 * * *"'
        yield FieldError("spec.schedules", "Required value", message)
    for number, schedule in enumerate(found):
        if len(schedule.split()) != 5 and not schedule.startswith("@"):
            message = "must have five fields: minute, hour, day of month, month, day of week"
            yield FieldError(f"spec.schedules[{number}]", "Invalid value", message, schedule)
        elif not croniter.is_valid(schedule):
            message = "is not a cron expression"
            yield FieldError(f"spec.schedules[{number}]", "Invalid value", message, schedule)
    timezone = spec.get("timezone")
    if timezone and timezone not in zoneinfo.available_timezones():
        yield FieldError("spec.timezone", "Invalid value", "is not a known time zone", timezone)
