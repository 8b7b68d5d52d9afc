"""Cron schedules as Kubernetes' CronJobs and Kubeflow's recurring runs read them. Pure.

Five fields or a macro, or ``@every`` with a duration. Where both days of the month and of the week
are given, either will do. In a time zone, times that the clocks skip do not come up, and those
that they repeat come up twice.

CronJobs are read by robfig/cron's third version, recurring runs by its first: seconds come first
there, the days of the week may be left out, and a star stays one if it has a step.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

__all__ = ["Schedule", "ScheduleError", "parse_schedule", "parse_schedule_with_seconds"]


class ScheduleError(ValueError):
    """The schedule cannot be read."""


class Schedule(Protocol):
    """Moments that come up again and again."""

    def next(self, after: dt.datetime) -> dt.datetime | None:
        """The first moment after another one, in UTC; ``None`` if there is none in five years."""
        ...


class _Field(NamedTuple):
    low: int
    high: int
    names: dict[str, int]


_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun",
                  "jul", "aug", "sep", "oct", "nov", "dec")  # fmt: skip
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SECONDS: Final = _Field(0, 59, {})
_FIELDS: Final = (
    _Field(0, 59, {}),
    _Field(0, 23, {}),
    _Field(1, 31, {}),
    _Field(1, 12, {title: number for number, title in enumerate(_MONTHS, 1)}),
    _Field(0, 6, {title: number for number, title in enumerate(_DAYS)}),
)
_MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY: Final = "@every "
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_AMOUNT: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
_YEARS: Final = 5
_SECOND: Final = dt.timedelta(seconds=1)
_MINUTE: Final = dt.timedelta(minutes=1)


def parse_schedule(text: str, zone: dt.tzinfo = dt.UTC) -> Schedule:
    """Reads a schedule; raises :class:`ScheduleError`."""
    if text.startswith(_EVERY):
        return _Every(dt.timedelta(seconds=max(1, int(_seconds(text.removeprefix(_EVERY))))))
    if text.startswith("@"):
        if text not in _MACROS:
            raise ScheduleError(f"unrecognized descriptor: {text}")
        text = _MACROS[text]
    parts = text.split()
    if len(parts) != len(_FIELDS):
        found = f"found {len(parts)}: [{' '.join(parts)}]"
        raise ScheduleError(f"expected exactly {len(_FIELDS)} fields, {found}")
    any_day = _is_star(parts[2]) or _is_star(parts[4])
    minutes, hours, days, months, weekdays = _sets(parts, _FIELDS)
    return _Calendar(frozenset({0}), minutes, hours, days, months, weekdays, any_day, zone)


def parse_schedule_with_seconds(text: str, zone: dt.tzinfo = dt.UTC) -> Schedule:
    """Reads a schedule whose first field is seconds; raises :class:`ScheduleError`."""
    if text.startswith("@"):
        return parse_schedule(text, zone)
    parts = text.split()
    if len(parts) == len(_FIELDS):
        parts.append("*")
    if len(parts) != len(_FIELDS) + 1:
        found = f"found {len(parts)}: [{' '.join(parts)}]"
        raise ScheduleError(f"expected 5 to 6 fields, seconds first, {found}")
    any_day = any(piece[:1] in "*?" for part in (parts[3], parts[5]) for piece in part.split(","))
    seconds, minutes, hours, days, months, weekdays = _sets(parts, (_SECONDS, *_FIELDS))
    return _Calendar(seconds, minutes, hours, days, months, weekdays, any_day, zone)


def _sets(parts: Sequence[str], fields: Sequence[_Field]) -> list[frozenset[int]]:
    return [_values(part, field) for part, field in zip(parts, fields, strict=True)]


@dataclass(frozen=True, slots=True)
class _Every:
    delay: dt.timedelta

    def next(self, after: dt.datetime) -> dt.datetime:
        return after.astimezone(dt.UTC).replace(microsecond=0) + self.delay


@dataclass(frozen=True, slots=True)
class _Calendar:
    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    both: bool
    """Whether day of the month and day of the week have to fit, because one of them always does."""
    zone: dt.tzinfo

    def next(self, after: dt.datetime) -> dt.datetime | None:
        moment = after.astimezone(dt.UTC).replace(microsecond=0) + _SECOND
        last = moment.year + _YEARS
        while moment.year <= last:
            local = moment.astimezone(self.zone)
            if local.month not in self.months:
                moment = self._midnight(local.year + local.month // 12, local.month % 12 + 1, 1)
            elif not self._fits(local):
                tomorrow = local.date() + dt.timedelta(days=1)
                moment = self._midnight(tomorrow.year, tomorrow.month, tomorrow.day)
            elif local.hour not in self.hours:
                # An hour that passes, whatever the clocks show: they may skip or repeat one.
                moment += dt.timedelta(minutes=60 - local.minute, seconds=-local.second)
            elif local.minute not in self.minutes:
                moment += _MINUTE - local.second * _SECOND
            elif local.second not in self.seconds:
                later = [second for second in self.seconds if second > local.second]
                moment += (min(later, default=60) - local.second) * _SECOND
            else:
                return moment
        return None

    def _midnight(self, year: int, month: int, day: int) -> dt.datetime:
        return dt.datetime(year, month, day, tzinfo=self.zone).astimezone(dt.UTC)

    def _fits(self, local: dt.datetime) -> bool:
        by_month, by_week = local.day in self.days, local.isoweekday() % 7 in self.weekdays
        return (by_month and by_week) if self.both else (by_month or by_week)


def _is_star(part: str) -> bool:
    return any(piece in ("*", "?", "*/1", "?/1") for piece in part.split(","))


def _values(part: str, field: _Field) -> frozenset[int]:
    found: set[int] = set()
    for piece in part.split(","):
        found.update(_range(piece, field))
    return frozenset(found)


def _range(piece: str, field: _Field) -> range:
    bounds, *steps = piece.split("/")
    ends = bounds.split("-")
    if len(steps) > 1:
        raise ScheduleError(f"too many slashes: {piece}")
    if bounds in ("*", "?"):
        low, high = field.low, field.high
    elif len(ends) > 2:
        raise ScheduleError(f"too many hyphens: {piece}")
    else:
        low = _number(ends[0], field.names)
        # A single value with a step goes on to the end.
        high = _number(ends[1], field.names) if len(ends) == 2 else field.high if steps else low
    step = _number(steps[0], {}) if steps else 1
    if low < field.low:
        raise ScheduleError(f"beginning of range ({low}) below minimum ({field.low}): {piece}")
    if high > field.high:
        raise ScheduleError(f"end of range ({high}) above maximum ({field.high}): {piece}")
    if low > high:
        raise ScheduleError(f"beginning of range ({low}) beyond end of range ({high}): {piece}")
    if not step:
        raise ScheduleError(f"step of range should be a positive number: {piece}")
    return range(low, high + 1, step)


def _number(text: str, names: dict[str, int]) -> int:
    if (named := names.get(text.lower())) is not None:
        return named
    if not (text.isascii() and text.isdigit()):
        raise ScheduleError(f"failed to parse int from {text}")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(f"({_AMOUNT.pattern})+", text):
        raise ScheduleError(f"failed to parse duration {_EVERY}{text}")
    return sum(float(amount) * _UNITS[unit] for amount, unit in _AMOUNT.findall(text))
