"""Sprig's functions of moments and durations."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Final

from kubeling.kube.durations import parse_duration
from kubeling.workflows.expressions.errors import ExpressionError
from kubeling.workflows.expressions.gotext import duration_text
from kubeling.workflows.expressions.gotime import format_moment, parse_moment, zone
from kubeling.workflows.expressions.sprig.casts import to_int

__all__ = ["FUNCTIONS"]

_ROUNDS: Final = (
    ("y", 365 * 24 * 3600), ("mo", 30 * 24 * 3600), ("d", 24 * 3600), ("h", 3600), ("m", 60),
    ("s", 1),
)  # fmt: skip


def _moment(value: Any) -> dt.datetime:
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return dt.datetime.fromtimestamp(value, dt.UTC)
    return dt.datetime.now(dt.UTC)


def _in_zone(layout: str, value: Any, where: str) -> str:
    try:
        place = zone(where)
    except ExpressionError:
        place = dt.UTC
    return format_moment(_moment(value).astimezone(place), layout)


def _seconds(text: str) -> dt.timedelta:
    sign = -1 if text.startswith("-") else 1
    return dt.timedelta(seconds=sign * parse_duration(text.lstrip("+-")))


def _modified(change: str, value: Any) -> dt.datetime:
    try:
        return _moment(value) + _seconds(change)
    except ValueError:
        return _moment(value)


def _must_modified(change: str, value: Any) -> dt.datetime:
    try:
        return _moment(value) + _seconds(change)
    except ValueError as error:
        raise ExpressionError(f"time: invalid duration {change!r}: {error}") from None


def _ago(value: Any) -> str:
    passed = dt.datetime.now(dt.UTC) - _moment(value)
    return duration_text(dt.timedelta(seconds=round(passed.total_seconds())))


def _rounded(value: Any) -> str:
    if isinstance(value, dt.datetime):
        seconds = (dt.datetime.now(dt.UTC) - value).total_seconds()
    elif isinstance(value, dt.timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, str):
        try:
            seconds = _seconds(value).total_seconds()
        except ValueError:
            seconds = 0.0
    else:
        seconds = to_int(value) / 1e9
    for unit, size in _ROUNDS:
        if abs(seconds) >= size:
            return f"{'-' if seconds < 0 else ''}{round(abs(seconds) / size)}{unit}"
    return "0s"


def _to_date(layout: str, text: str) -> dt.datetime:
    try:
        return parse_moment(text, layout)
    except ExpressionError:
        return dt.datetime(1, 1, 1, tzinfo=dt.UTC)


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "ago": _ago,
    "date": lambda layout, value: format_moment(_moment(value), layout),
    "dateInZone": _in_zone,
    "date_in_zone": _in_zone,
    "dateModify": _modified,
    "date_modify": _modified,
    "mustDateModify": _must_modified,
    "must_date_modify": _must_modified,
    "duration": lambda seconds: duration_text(dt.timedelta(seconds=to_int(seconds))),
    "durationRound": _rounded,
    "htmlDate": lambda value: format_moment(_moment(value), "2006-01-02"),
    "htmlDateInZone": lambda value, where: _in_zone("2006-01-02", value, where),
    "now": lambda: dt.datetime.now(dt.UTC),
    "toDate": _to_date,
    "mustToDate": lambda layout, text: parse_moment(text, layout),
    "unixEpoch": lambda value: str(int(_moment(value).timestamp())),
}
