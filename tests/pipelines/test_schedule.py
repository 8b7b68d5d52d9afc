"""When recurring runs are due, and what their parameters become."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.pipelines.recurring import expand_macros
from kubeling.pipelines.resources import CronSchedule, PeriodicSchedule, Trigger
from kubeling.pipelines.schedule import ScheduleError, check_trigger, next_time

CREATED = dt.datetime(2026, 1, 1, 12, 0, 5, tzinfo=dt.UTC)


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def test_cron_counts_seconds_first() -> None:
    trigger = Trigger(CronSchedule("30 0 * * * *"))
    assert next_time(trigger, None, CREATED) == at("2026-01-01T12:00:30")
    assert next_time(trigger, at("2026-01-01T13:00:30"), CREATED) == at("2026-01-01T14:00:30")


def test_five_fields_and_question_marks_are_read() -> None:
    assert next_time(Trigger(CronSchedule("0 2 * * *")), None, CREATED) == at("2026-01-02T02:00:00")
    check_trigger(Trigger(CronSchedule("0 0 2 ? * *")))


def test_an_interval_begins_with_the_creation_or_at_its_start() -> None:
    every = PeriodicSchedule(60)
    assert next_time(Trigger(None, every), None, CREATED) == at("2026-01-01T12:01:05")
    later = PeriodicSchedule(60, start_time="2026-02-01T00:00:00Z")
    assert next_time(Trigger(None, later), None, CREATED) == at("2026-02-01T00:00:00")


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
    [Trigger(), Trigger(CronSchedule("nonsense")), Trigger(CronSchedule("61 * * * * *"))],
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
