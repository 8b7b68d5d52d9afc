"""When a CronJob's schedule comes up. Pure.

A schedule is read in its time zone; times between the last run and now that were missed count as
one run, the latest.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kubeling.kube.objects import Obj, parse_time

__all__ = ["Due", "InvalidSchedule", "due"]


class InvalidSchedule(ValueError):
    """The schedule or the time zone cannot be read."""


@dataclass(frozen=True, slots=True)
class Due:
    """The run that is due (if any) and the next one."""

    now: dt.datetime | None
    next: dt.datetime


def due(cron_job: Obj, now: dt.datetime) -> Due:
    """What the schedule says at a moment; raises :class:`InvalidSchedule`."""
    from croniter import CroniterBadCronError, CroniterBadDateError, croniter

    spec = cron_job["spec"]
    zone = _zone(spec.get("timeZone"))
    try:
        after = croniter(spec["schedule"].strip(), now.astimezone(zone))
        following = after.get_next(dt.datetime)
        latest = croniter(spec["schedule"].strip(), following).get_prev(dt.datetime)
    except (CroniterBadCronError, CroniterBadDateError, KeyError) as error:
        raise InvalidSchedule(
            f'spec.schedule: "{spec["schedule"]}" is not a cron schedule ({error}); '
            'write five fields such as "0 3 * * *", or @daily'
        ) from None
    is_due = latest.astimezone(dt.UTC) > _start(cron_job, now)
    return Due(latest.astimezone(dt.UTC) if is_due else None, following.astimezone(dt.UTC))


def _start(cron_job: Obj, now: dt.datetime) -> dt.datetime:
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
        raise InvalidSchedule(
            f'spec.timeZone: "{title}" is not a known time zone; write one such as Europe/Berlin'
        ) from None
