"""When a CronJob runs."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from kubeling.engine.workloads.cron_schedule import InvalidSchedule, due
from kubeling.kube.objects import Obj, format_time

NOW = dt.datetime(2026, 3, 1, 12, 0, 30, tzinfo=dt.UTC)


def cron_job(schedule: str, created: dt.datetime, last: str = "", **spec: Any) -> Obj:
    return {
        "metadata": {"name": "tick", "creationTimestamp": format_time(created)},
        "spec": {"schedule": schedule, **spec},
        "status": {"lastScheduleTime": last} if last else {},
    }


def test_a_new_one_waits_for_its_first_time() -> None:
    found = due(cron_job("0 * * * *", NOW - dt.timedelta(seconds=10)), NOW)
    assert found.now is None
    assert found.next == NOW.replace(hour=13, minute=0, second=0)


def test_a_time_that_passed_is_due_once() -> None:
    found = due(cron_job("0 * * * *", NOW - dt.timedelta(days=3)), NOW)
    assert found.now == NOW.replace(minute=0, second=0)
    done = format_time(NOW.replace(minute=0, second=0))
    assert due(cron_job("0 * * * *", NOW - dt.timedelta(days=3), done), NOW).now is None


def test_a_run_that_is_too_late_is_skipped() -> None:
    spec = {"startingDeadlineSeconds": 10}
    assert due(cron_job("0 * * * *", NOW - dt.timedelta(days=3), **spec), NOW).now is None


def test_schedules_are_read_in_their_time_zone() -> None:
    job = cron_job("0 9 * * *", NOW, timeZone="America/New_York")
    assert due(job, NOW).next == dt.datetime(2026, 3, 1, 14, tzinfo=dt.UTC)


def test_the_clocks_going_forward_moves_the_moment_not_the_hour() -> None:
    summer = dt.datetime(2026, 7, 1, tzinfo=dt.UTC)
    job = cron_job("0 9 * * *", summer, timeZone="America/New_York")
    assert due(job, summer).next == dt.datetime(2026, 7, 1, 13, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("schedule", "zone", "field"),
    [("every day", None, "spec.schedule"), ("0 9 * * *", "Mars/Olympus", "spec.timeZone")],
)
def test_what_cannot_be_read_names_the_field(schedule: str, zone: str | None, field: str) -> None:
    with pytest.raises(InvalidSchedule, match=field):
        due(cron_job(schedule, NOW, timeZone=zone), NOW)
