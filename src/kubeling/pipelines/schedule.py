"""When a recurring run is due. Pure.

Upstream's scheduler (``backend/src/crd/controller/scheduledworkflow/util``): cron expressions have
seconds first, and five fields leave the days of the week out. Fields count in the zone that
``CRON_SCHEDULE_TIMEZONE`` or ``pipelines.cron_timezone`` names, else in UTC.
"""

from __future__ import annotations

import datetime as dt
import math

from kubeling.kube import cron
from kubeling.kube.objects import parse_time
from kubeling.pipelines.resources import CronSchedule, PeriodicSchedule, Trigger

__all__ = ["ScheduleError", "check_trigger", "latest_time", "next_time"]

_SECOND = dt.timedelta(seconds=1)


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
        text = trigger.cron_schedule.cron
        try:
            cron.parse_schedule_with_seconds(text)
        except cron.ScheduleError as error:
            raise ScheduleError(
                "cronSchedule.cron",
                f"{text!r} is no cron expression: {error}; six fields with seconds first are "
                "expected, such as 0 0 * * * *",
            ) from None


def next_time(
    trigger: Trigger, last: dt.datetime | None, created: dt.datetime, zone: dt.tzinfo = dt.UTC
) -> dt.datetime | None:
    """The first moment after ``last`` at which a run is due, or ``None`` if there is no more."""
    schedule = trigger.cron_schedule or trigger.periodic_schedule
    if schedule is None:
        return None
    start = parse_time(schedule.start_time) if schedule.start_time else None
    due: dt.datetime | None
    if isinstance(schedule, CronSchedule):
        after = max(filter(None, (last or start or created, start)))
        due = cron.parse_schedule_with_seconds(schedule.cron, zone).next(after)
    else:
        due = _next_period(schedule, last, start, created)
    end = parse_time(schedule.end_time) if schedule.end_time else None
    return None if due is None or (end is not None and due > end) else due


def latest_time(
    trigger: Trigger,
    due: dt.datetime,
    now: dt.datetime,
    created: dt.datetime,
    zone: dt.tzinfo = dt.UTC,
) -> dt.datetime:
    """The last moment not after ``now`` at which a run is due; ``due`` is one of them.

    Found by halving, so that a year of missed seconds costs no more than a missed hour.
    """
    low, high = due, now
    while high - low >= _SECOND:
        middle = low + (high - low) / 2
        later = next_time(trigger, middle, created, zone)
        if later is not None and later <= now:
            low = later
        else:
            high = middle
    return low


def _next_period(
    schedule: PeriodicSchedule,
    last: dt.datetime | None,
    start: dt.datetime | None,
    created: dt.datetime,
) -> dt.datetime:
    interval = dt.timedelta(seconds=schedule.interval_second)
    first = (start or created) + interval
    if last is None or last < first:
        return first
    return first + interval * (math.floor((last - first) / interval) + 1)
