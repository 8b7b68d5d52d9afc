"""When a CronJob runs."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from kubeling.engine.workloads.cron_schedule import Due, UnknownTimeZone, due, schedule_of
from kubeling.kube.cron import ScheduleError
from kubeling.kube.objects import Obj, format_time

NOW = dt.datetime(2026, 3, 1, 12, 0, 30, tzinfo=dt.UTC)


def cron_job(schedule: str, created: dt.datetime, last: str = "", **spec: Any) -> Obj:
    return {
        "metadata": {"name": "tick", "creationTimestamp": format_time(created)},
        "spec": {"schedule": schedule, **spec},
        "status": {"lastScheduleTime": last} if last else {},
    }


def ask(job: Obj, now: dt.datetime) -> Due:
    return due(job, schedule_of(job), now)


def test_a_new_one_waits_for_its_first_time() -> None:
    found = ask(cron_job("0 * * * *", NOW - dt.timedelta(seconds=10)), NOW)
    assert found.now is None
    assert found.next == NOW.replace(hour=13, minute=0, second=0)


def test_a_time_that_passed_is_due_once() -> None:
    found = ask(cron_job("0 * * * *", NOW - dt.timedelta(days=3)), NOW)
    assert found.now == NOW.replace(minute=0, second=0)
    done = format_time(NOW.replace(minute=0, second=0))
    assert ask(cron_job("0 * * * *", NOW - dt.timedelta(days=3), done), NOW).now is None


def test_a_run_that_is_too_late_is_skipped() -> None:
    spec = {"startingDeadlineSeconds": 10}
    assert ask(cron_job("0 * * * *", NOW - dt.timedelta(days=3), **spec), NOW).now is None


def test_schedules_are_read_in_their_time_zone() -> None:
    job = cron_job("0 9 * * *", NOW, timeZone="America/New_York")
    assert ask(job, NOW).next == dt.datetime(2026, 3, 1, 14, tzinfo=dt.UTC)


def test_the_clocks_going_forward_moves_the_moment_not_the_hour() -> None:
    summer = dt.datetime(2026, 7, 1, tzinfo=dt.UTC)
    job = cron_job("0 9 * * *", summer, timeZone="America/New_York")
    assert ask(job, summer).next == dt.datetime(2026, 7, 1, 13, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("last", "now", "many"),
    [("2026-03-01T10:00:00Z", "12:00", False), ("2026-02-20T10:00:00Z", "12:00", True)],
)
def test_of_several_missed_times_the_latest_is_made_up_for(last: str, now: str, many: bool) -> None:
    found = ask(cron_job("0 * * * *", NOW, last), NOW)
    assert found == Due(NOW.replace(second=0), NOW.replace(hour=13, minute=0, second=0), many)


def test_missed_times_of_an_irregular_schedule() -> None:
    job = cron_job("30 6-16/4 * * 1-5", NOW, "2026-02-26T06:30:00Z")
    assert ask(job, NOW).now == dt.datetime(2026, 2, 27, 14, 30, tzinfo=dt.UTC)


def test_what_never_comes_up_cannot_be_scheduled() -> None:
    with pytest.raises(ScheduleError):
        ask(cron_job("59 23 31 2 *", NOW), NOW)


def test_an_unknown_time_zone_is_named() -> None:
    with pytest.raises(UnknownTimeZone, match="Mars/Olympus"):
        schedule_of(cron_job("0 9 * * *", NOW, timeZone="Mars/Olympus"))
