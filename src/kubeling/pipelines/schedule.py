"""When a recurring run is due. Pure.

Cron expressions have six fields with seconds first, as upstream's scheduler reads them; five fields
are taken as usual. Fields count in the zone named by ``CRON_SCHEDULE_TIMEZONE``, else in UTC.
"""

from __future__ import annotations

import datetime as dt
import math

from kubeling.kube.objects import parse_time
from kubeling.pipelines.resources import CronSchedule, PeriodicSchedule, Trigger

__all__ = ["ScheduleError", "check_trigger", "next_time"]


class ScheduleError(ValueError):
    """A trigger that never fires; ``field`` is what to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def check_trigger(trigger: Trigger) -> None:
    """Raises :class:`ScheduleError` for what cannot be scheduled."""
    if (trigger.cron_schedule is None) == (trigger.periodic_schedule is None):
        raise ScheduleError("cronSchedule", "give either cronSchedule or periodicSchedule")
    if trigger.cron_schedule is not None:
        from croniter import croniter

        cron = trigger.cron_schedule.cron
        if not croniter.is_valid(_translated(cron), second_at_beginning=_has_seconds(cron)):
            raise ScheduleError(
                "cronSchedule.cron",
                f"{cron!r} is no cron expression; six fields with seconds first are expected, "
                "such as 0 0 * * * *",
            )


def next_time(
    trigger: Trigger, last: dt.datetime | None, created: dt.datetime, zone: dt.tzinfo = dt.UTC
) -> dt.datetime | None:
    """The first moment after ``last`` at which a run is due, or ``None`` if there is no more."""
    schedule = trigger.cron_schedule or trigger.periodic_schedule
    if schedule is None:
        return None
    start = parse_time(schedule.start_time) if schedule.start_time else None
    if isinstance(schedule, CronSchedule):
        due = _next_cron(schedule, max(filter(None, (last, start, created))), zone)
    else:
        due = _next_period(schedule, last, start, created)
    end = parse_time(schedule.end_time) if schedule.end_time else None
    return None if end is not None and due > end else due


def _next_cron(schedule: CronSchedule, after: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    from croniter import croniter

    found: dt.datetime = croniter(
        _translated(schedule.cron),
        after.astimezone(zone),
        ret_type=dt.datetime,
        second_at_beginning=_has_seconds(schedule.cron),
    ).get_next()
    return found.astimezone(dt.UTC)


def _next_period(
    schedule: PeriodicSchedule,
    last: dt.datetime | None,
    start: dt.datetime | None,
    created: dt.datetime,
) -> dt.datetime:
    interval = dt.timedelta(seconds=schedule.interval_second)
    first = start or created + interval
    if last is None or last < first:
        return first
    return first + interval * (math.floor((last - first) / interval) + 1)


def _translated(cron: str) -> str:
    return cron.replace("?", "*")


def _has_seconds(cron: str) -> bool:
    return len(cron.split()) == 6
