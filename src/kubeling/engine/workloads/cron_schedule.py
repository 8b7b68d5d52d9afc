"""When a CronJob's schedule comes up. Pure.

Of the times between the last run and now only the latest counts; those before it are missed.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kubeling.kube.cron import Schedule, ScheduleError, parse_schedule
from kubeling.kube.objects import Obj, parse_time

__all__ = ["Due", "UnknownTimeZone", "due", "schedule_of"]

_MANY: Final = 100


class UnknownTimeZone(ValueError):
    """The time zone cannot be found."""


@dataclass(frozen=True, slots=True)
class Due:
    """The latest time that has come up (if any), whether very many have, and the next one."""

    now: dt.datetime | None
    next: dt.datetime | None
    many: bool = False


def schedule_of(cron_job: Obj) -> Schedule:
    """The schedule in its time zone; raises :class:`ScheduleError` or :class:`UnknownTimeZone`."""
    text, zone = cron_job["spec"]["schedule"], _zone(cron_job["spec"].get("timeZone"))
    if text.startswith(("TZ=", "CRON_TZ=")):
        # Only of objects from before it was refused.
        named, _, text = text.partition(" ")
        zone = _zone(named.partition("=")[2])
    return parse_schedule(text.strip(), zone)


def due(cron_job: Obj, schedule: Schedule, now: dt.datetime) -> Due:
    """What the schedule says at a moment; raises :class:`ScheduleError` if it never comes up."""
    after = _earliest(cron_job, now)
    first = schedule.next(after)
    if first is None:
        raise ScheduleError("time difference between two schedules is less than 1 second")
    if now < first:
        return Due(None, first)
    second = schedule.next(first)
    if second is None:
        return Due(first, None)
    if now < second:
        return Due(first, second)
    # Roughly how many there were, without going through them all: they may be thousands.
    between = max(1, int((second - first).total_seconds()))
    missed = int((now - first).total_seconds()) // between + 1
    latest, step = first, 1
    while latest == first and step <= 2 * missed:
        near: dt.datetime | None = first + dt.timedelta(seconds=(missed - 1 - step) * between)
        while near is not None and (near := schedule.next(near)) is not None and near <= now:
            latest = max(latest, near)
        step *= 2
    return Due(latest, schedule.next(max(latest, now)), missed > _MANY)


def _earliest(cron_job: Obj, now: dt.datetime) -> dt.datetime:
    """Runs are looked for after this moment: the last run, but no earlier than the deadline."""
    status = cron_job.get("status") or {}
    earliest = status.get("lastScheduleTime") or cron_job["metadata"]["creationTimestamp"]
    start = parse_time(earliest)
    if (deadline := cron_job["spec"].get("startingDeadlineSeconds")) is not None:
        start = max(start, now - dt.timedelta(seconds=int(deadline)))
    return start


def _zone(title: str | None) -> dt.tzinfo:
    if not title:
        return dt.UTC
    try:
        return ZoneInfo(title)
    except (ZoneInfoNotFoundError, ValueError):
        raise UnknownTimeZone(f'invalid timeZone: "{title}": unknown time zone {title}') from None
