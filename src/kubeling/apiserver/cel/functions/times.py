"""Parts of timestamps and durations."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kubeling.apiserver.cel.errors import EvalError
from kubeling.apiserver.cel.library import Library

__all__ = ["TIMES"]

TIMES: Final = Library()

_OFFSET: Final = re.compile(r"([+-]?)(\d\d):(\d\d)")

_PARTS: Final[dict[str, Callable[[dt.datetime], int]]] = {
    "getFullYear": lambda time: time.year,
    "getMonth": lambda time: time.month - 1,
    "getDate": lambda time: time.day,
    "getDayOfMonth": lambda time: time.day - 1,
    "getDayOfWeek": lambda time: time.isoweekday() % 7,
    "getDayOfYear": lambda time: time.timetuple().tm_yday - 1,
    "getHours": lambda time: time.hour,
    "getMinutes": lambda time: time.minute,
    "getSeconds": lambda time: time.second,
    "getMilliseconds": lambda time: time.microsecond // 1000,
}
_UNITS: Final = {
    "getHours": dt.timedelta(hours=1),
    "getMinutes": dt.timedelta(minutes=1),
    "getSeconds": dt.timedelta(seconds=1),
    "getMilliseconds": dt.timedelta(milliseconds=1),
}


def _zone(name: str) -> dt.tzinfo:
    if (match := _OFFSET.fullmatch(name)) is not None:
        offset = dt.timedelta(hours=int(match[2]), minutes=int(match[3]))
        return dt.timezone(-offset if match[1] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise EvalError(f"unknown time zone {name}") from None


def _declare_part(name: str, part: Callable[[dt.datetime], int]) -> None:
    TIMES.define(f"timestamp.{name}() -> int")(lambda time: part(time.astimezone(dt.UTC)))
    TIMES.define(f"timestamp.{name}(string) -> int")(
        lambda time, zone: part(time.astimezone(_zone(zone)))
    )


def _declare_unit(name: str, unit: dt.timedelta) -> None:
    def whole(duration: dt.timedelta) -> int:
        return duration // unit if duration >= dt.timedelta() else -(-duration // unit)

    TIMES.define(f"duration.{name}() -> int")(whole)


for _name, _part in _PARTS.items():
    _declare_part(_name, _part)
for _name, _unit in _UNITS.items():
    _declare_unit(_name, _unit)
