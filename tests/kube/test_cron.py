"""Cron schedules as CronJobs read them."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.kube.cron import ScheduleError, parse_schedule

NEW_YORK, LORD_HOWE = "America/New_York", "Australia/Lord_Howe"


def moments(schedule: str, after: str, count: int = 3, zone: str = "UTC") -> list[str]:
    """The next moments, as they read in their time zone."""
    place = ZoneInfo(zone)
    found, moment = [], dt.datetime.fromisoformat(after).replace(tzinfo=place)
    for _ in range(count):
        moment = parse_schedule(schedule, place).next(moment)
        assert moment is not None
        found.append(moment.astimezone(place).isoformat(timespec="minutes")[:22])
    return found


@pytest.mark.parametrize(
    ("schedule", "first", "second"),
    [
        ("* * * * *", "2026-03-01T12:01", "2026-03-01T12:02"),
        ("*/15 * * * *", "2026-03-01T12:15", "2026-03-01T12:30"),
        ("0 9-17/4 * * mon-fri", "2026-03-02T09:00", "2026-03-02T13:00"),
        ("30 4 1,15 * *", "2026-03-15T04:30", "2026-04-01T04:30"),
        ("0 0 29 feb ?", "2028-02-29T00:00", "2032-02-29T00:00"),
        ("5/20 0 * * *", "2026-03-02T00:05", "2026-03-02T00:25"),
        ("@monthly", "2026-04-01T00:00", "2026-05-01T00:00"),
        ("@weekly", "2026-03-08T00:00", "2026-03-15T00:00"),
        # Day of the month or day of the week: either will do, unless one of them is a star.
        ("0 0 13 * fri", "2026-03-06T00:00", "2026-03-13T00:00"),
        ("0 0 */2 * sun", "2026-03-03T00:00", "2026-03-05T00:00"),
        ("0 0 * * sun", "2026-03-08T00:00", "2026-03-15T00:00"),
    ],
)
def test_moments_come_up(schedule: str, first: str, second: str) -> None:
    assert [m[:16] for m in moments(schedule, "2026-03-01T12:00:30", 2)] == [first, second]


def test_every_counts_from_the_last_time() -> None:
    assert [m[11:16] for m in moments("@every 1h30m", "2026-03-01T12:07")] == [
        "13:37",
        "15:07",
        "16:37",
    ]


@pytest.mark.parametrize(
    ("schedule", "after", "found"),
    [
        # The clocks go from 2 to 3: what is for half past two does not come up that day.
        (
            "30 2 * * *",
            "2026-03-07T12:00",
            ["2026-03-09T02:30-04:00", "2026-03-10T02:30-04:00"],
        ),
        ("0 * * * *", "2026-03-08T00:30", ["2026-03-08T01:00-05:00", "2026-03-08T03:00-04:00"]),
        # They go from 2 back to 1: half past one comes up twice.
        (
            "30 1 * * *",
            "2026-11-01T00:00",
            ["2026-11-01T01:30-04:00", "2026-11-01T01:30-05:00"],
        ),
        ("0 9 * * *", "2026-10-31T12:00", ["2026-11-01T09:00-05:00", "2026-11-02T09:00-05:00"]),
    ],
)
def test_the_clocks_change(schedule: str, after: str, found: list[str]) -> None:
    assert moments(schedule, after, 2, NEW_YORK) == found


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("every day", "expected exactly 5 fields, found 2: [every day]"),
        ("* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("9-5 * * * *", "beginning of range (9) beyond end of range (5): 9-5"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("* * * june *", "failed to parse int from june"),
        ("@fortnightly", "unrecognized descriptor: @fortnightly"),
        ("@every soon", "failed to parse duration @every soon"),
    ],
)
def test_what_cannot_be_read_says_why(schedule: str, why: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(schedule)
    assert str(caught.value) == why


def test_what_never_comes_up() -> None:
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert parse_schedule("59 23 31 2 *").next(start) is None


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    steps = st.integers(1, high).map(lambda step: f"*/{step}")
    return st.one_of(st.just("*"), number.map(str), spans, steps)


@given(
    st.tuples(field(0, 59), field(0, 23), field(1, 28), field(1, 12), st.just("*")).map(" ".join),
    st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2030, 1, 1)),
    st.sampled_from([NEW_YORK, LORD_HOWE, "UTC", "Africa/Cairo"]),
)
def test_each_moment_fits_and_none_before_it_does(
    schedule: str, naive: dt.datetime, zone: str
) -> None:
    place = ZoneInfo(zone)
    after = naive.replace(tzinfo=dt.UTC)
    read = parse_schedule(schedule, place)
    found = read.next(after)
    assert found is not None
    assert found > after
    assert read.next(found - dt.timedelta(seconds=1)) == found
    assert found.astimezone(place).second == 0
