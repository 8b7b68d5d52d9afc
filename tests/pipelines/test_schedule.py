"""When recurring runs are due, and what their parameters become."""

import datetime as dt
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.pipelines.go_time import format_time
from kubeling.pipelines.macros import expand_macros, expand_run_id
from kubeling.pipelines.resources import CronSchedule, PeriodicSchedule, Trigger
from kubeling.pipelines.schedule import ScheduleError, check_trigger, latest_time, next_time

CREATED = dt.datetime(2026, 1, 1, 12, 0, 5, tzinfo=dt.UTC)


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def test_cron_counts_seconds_first() -> None:
    trigger = Trigger(CronSchedule("30 0 * * * *"))
    assert next_time(trigger, None, CREATED) == at("2026-01-01T12:00:30")
    assert next_time(trigger, at("2026-01-01T13:00:30"), CREATED) == at("2026-01-01T14:00:30")


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 2 * * *", "2026-01-01T12:02:00"),  # five fields: no days of the week
        ("0 0 2 ? * *", "2026-01-02T02:00:00"),
        ("*/15 * * * * *", "2026-01-01T12:00:15"),
        ("5/20 59 23 31 dec ?", "2026-12-31T23:59:05"),
        ("0 0 0 13 * FRI", "2026-01-02T00:00:00"),  # either day
        ("0 0 0 */2 * MON", "2026-01-05T00:00:00"),  # a star with a step is a star: both days
        ("@hourly", "2026-01-01T13:00:00"),
        ("@every 90s", "2026-01-01T12:01:35"),
    ],
)
def test_cron_is_read_as_upstreams_scheduler_does(cron: str, expected: str) -> None:
    assert next_time(Trigger(CronSchedule(cron)), None, CREATED) == at(expected)


def test_cron_counts_in_a_zone_and_skips_what_its_clocks_skip() -> None:
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    trigger = Trigger(CronSchedule("0 30 2 * * *"))
    assert next_time(trigger, None, at("2026-03-28T12:00:00"), zone) == at("2026-03-30T00:30:00")


def test_an_interval_begins_with_the_creation_or_at_its_start() -> None:
    every = PeriodicSchedule(60)
    assert next_time(Trigger(None, every), None, CREATED) == at("2026-01-01T12:01:05")
    later = PeriodicSchedule(60, start_time="2026-02-01T00:00:00Z")
    assert next_time(Trigger(None, later), None, CREATED) == at("2026-02-01T00:01:00")


def test_a_start_in_the_past_is_caught_up_with() -> None:
    schedule = CronSchedule("0 0 0 * * *", start_time="2025-12-30T12:00:00Z")
    assert next_time(Trigger(schedule), None, CREATED) == at("2025-12-31T00:00:00")


@pytest.mark.parametrize(
    "trigger",
    [Trigger(CronSchedule("* * * * * *")), Trigger(None, PeriodicSchedule(1))],
)
def test_the_last_of_a_year_of_missed_seconds_is_found_at_once(trigger: Trigger) -> None:
    due = next_time(trigger, None, CREATED)
    assert due is not None
    now = CREATED + dt.timedelta(days=400, microseconds=7)
    assert latest_time(trigger, due, now, CREATED) == now.replace(microsecond=0)


@given(st.integers(1, 5000), st.integers(0, 100_000))
def test_the_latest_moment_is_the_last_one_that_has_come(seconds: int, passed: int) -> None:
    trigger = Trigger(None, PeriodicSchedule(seconds))
    due, now = CREATED + dt.timedelta(seconds=seconds), CREATED + dt.timedelta(seconds=passed)
    if due <= now:
        found = latest_time(trigger, due, now, CREATED)
        assert now - dt.timedelta(seconds=seconds) < found <= now
        assert (found - CREATED).total_seconds() % seconds == 0


def test_nothing_is_due_after_the_end() -> None:
    schedule = PeriodicSchedule(60, end_time="2026-01-01T12:01:00Z")
    assert next_time(Trigger(None, schedule), None, CREATED) is None


@given(st.integers(1, 100_000), st.integers(0, 10_000_000))
def test_the_next_moment_is_the_first_one_later(seconds: int, passed: int) -> None:
    trigger = Trigger(None, PeriodicSchedule(seconds))
    last = CREATED + dt.timedelta(seconds=passed)
    due = next_time(trigger, last, CREATED)
    assert due is not None
    assert due > last
    assert due - last <= dt.timedelta(seconds=seconds) or last < CREATED + dt.timedelta(
        seconds=seconds
    )


@pytest.mark.parametrize(
    "trigger",
    [
        Trigger(),
        Trigger(CronSchedule("nonsense")),
        Trigger(CronSchedule("61 * * * * *")),
        Trigger(CronSchedule("* * * *")),
        Trigger(CronSchedule("* * * * * * *")),
        Trigger(CronSchedule("0 0 0 * * 7")),
        Trigger(CronSchedule("@fortnightly")),
    ],
)
def test_triggers_that_never_fire_are_refused(trigger: Trigger) -> None:
    with pytest.raises(ScheduleError):
        check_trigger(trigger)


def test_macros() -> None:
    given = {
        "day": "[[ScheduledTime.2006-01-02]]",
        "n": "[[Index]]",
        "l": ["[[ScheduledTime]]"],
        "i": 1,
    }
    assert expand_macros(given, at("2026-03-04T05:06:07"), CREATED, 3) == {
        "day": "2026-03-04",
        "n": "3",
        "l": ["20260304050607"],
        "i": 1,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[ScheduledTime.Jan _2, 2006 at 3:04:05pm]]", "Mar  4, 2026 at 5:06:07am"),
        ("[[CurrentTime]]", "20260101120005"),
        ("{{$.scheduledTime.strftime('%Y/%m/%d')}}", "2026/03/04"),
        ("{{$.currentTime.strftime('%s')}}", "1767268805"),
        ("{{$.inputs.parameters['x']}}", "{{$.inputs.parameters['x']}}"),
        ("[[Other]] [[Index]]", "[[Other]] 3"),
    ],
)
def test_macros_have_formats(text: str, expected: str) -> None:
    assert expand_macros(text, at("2026-03-04T05:06:07"), CREATED, 3) == expected


def test_the_runs_id_is_filled_in_where_a_parameter_asks_for_it() -> None:
    assert expand_run_id({"a": ["x-[[RunUUID]]", 1]}, "id") == {"a": ["x-id", 1]}


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("2006-01-02T15:04:05Z07:00", "2026-03-04T05:06:07Z"),
        ("Monday, 02-Jan-06 15:04:05 MST", "Wednesday, 04-Mar-26 05:06:07 UTC"),
        ("Mon Jan 2 15:04:05.000 -0700 2006", "Wed Mar 4 05:06:07.089 +0000 2026"),
        ("day 002 of 2006", "day 063 of 2026"),
        ("3PM .999", "5AM .089"),
    ],
)
def test_layouts_are_gos(layout: str, expected: str) -> None:
    moment = at("2026-03-04T05:06:07") + dt.timedelta(milliseconds=89)
    assert format_time(moment, layout) == expected
