"""Operators of the expression language, and what its values can be asked for."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from kubeling.workflows.expressions.errors import ExpressionError
from kubeling.workflows.expressions.gotext import duration_text

__all__ = ["compare", "equal", "member", "method", "number", "operator", "shown", "truth", "whole"]

_DAY: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def truth(value: Any) -> bool:
    """The value, which must be true or false."""
    if not isinstance(value, bool):
        raise ExpressionError(f"{shown(value)} is not true or false")
    return value


def number(value: Any) -> Any:
    """The value, which must be a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExpressionError(f"{shown(value)} is not a number; convert it with asInt or asFloat")
    return value


def whole(value: Any) -> int:
    """The value, which must be a whole number."""
    if isinstance(number(value), float) and not value.is_integer():
        raise ExpressionError(f"{shown(value)} is not a whole number")
    return int(value)


def member(value: Any, key: Any) -> Any:
    """``value.key`` or ``value[key]``; nil where there is none."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return value.get(key if key in value else str(key))
    if isinstance(value, list | str) and not isinstance(key, str | bool):
        index = whole(key)
        if not -len(value) <= index < len(value):
            raise ExpressionError(f"index out of range: {index} (array length is {len(value)})")
        return value[index]
    raise ExpressionError(f"{shown(value)} has no member {key!r}")


def method(value: Any, name: str, arguments: list[Any]) -> Any:
    """``value.Name()`` of a moment or a duration."""
    if isinstance(value, dt.datetime) and name in _OF_MOMENTS:
        return _OF_MOMENTS[name](value, *arguments)
    if isinstance(value, dt.timedelta) and name in _OF_DURATIONS:
        return _OF_DURATIONS[name](value)
    raise ExpressionError(f"{shown(value)} has no method {name}")


def equal(left: Any, right: Any) -> bool:
    """Equality; numbers are equal whatever their type, true is not 1."""
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return bool(left == right)


def operator(sign: str) -> Callable[[Any, Any], Any]:
    """What a binary operator does with two values."""
    found = _OPERATORS.get(sign)
    if found is None:
        raise ExpressionError(f'unexpected "{sign}"')
    return found


def compare(sign: str, left: Any, right: Any) -> bool:
    """``<``, ``<=``, ``>`` and ``>=``."""
    kinds = [
        "number" if isinstance(v, int | float) and not isinstance(v, bool) else type(v)
        for v in (left, right)
    ]
    if kinds[0] != kinds[1] or kinds[0] not in ("number", str, dt.datetime, dt.timedelta):
        raise ExpressionError(
            f"{shown(left)} {sign} {shown(right)}: compare two numbers or two strings"
        )
    return _ORDER[sign](left, right)


def shown(value: Any) -> str:
    """How messages show a value."""
    return "nil" if value is None else repr(value)


_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    if isinstance(left, dt.datetime | dt.timedelta) and isinstance(
        right, dt.datetime | dt.timedelta
    ):
        return left + right  # type: ignore[operator]
    return number(left) + number(right)


def _subtract(left: Any, right: Any) -> Any:
    if isinstance(left, dt.datetime | dt.timedelta) and isinstance(
        right, dt.datetime | dt.timedelta
    ):
        return left - right  # type: ignore[operator]
    return number(left) - number(right)


def _multiply(left: Any, right: Any) -> Any:
    if isinstance(left, dt.timedelta):
        return left * number(right)
    return number(left) * (right if isinstance(right, dt.timedelta) else number(right))


def _divide(left: Any, right: Any) -> float:
    dividend, divisor = float(number(left)), float(number(right))
    if divisor == 0:
        return (
            math.nan if dividend == 0 or math.isnan(dividend) else math.copysign(math.inf, dividend)
        )
    return dividend / divisor


def _modulo(left: Any, right: Any) -> int:
    divisor = whole(right)
    if divisor == 0:
        raise ExpressionError("runtime error: integer divide by zero")
    return int(math.fmod(whole(left), divisor))


def _range(first: Any, last: Any) -> list[int]:
    begin, end = whole(first), whole(last)
    if end - begin > 1_000_000:
        raise ExpressionError("memory budget exceeded")
    return list(range(begin, end + 1))


def _in(left: Any, right: Any) -> bool:
    if right is None:
        return False
    if isinstance(right, Mapping):
        return left in right
    if isinstance(right, list):
        return any(equal(left, one) for one in right)
    raise ExpressionError(f'operator "in" not defined on {shown(right)}')


def _texts(sign: str, act: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def run(left: Any, right: Any) -> bool:
        if left is None or right is None:
            return False
        if not isinstance(left, str) or not isinstance(right, str):
            raise ExpressionError(f"{sign} needs two strings, not {shown(left)} and {shown(right)}")
        return act(left, right)

    return run


def _matches(text: str, pattern: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error as error:
        raise ExpressionError(f"{pattern!r} is not a regular expression: {error}") from None


_OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": equal,
    "!=": lambda a, b: not equal(a, b),
    "in": _in,
    "matches": _texts("matches", _matches),
    "contains": _texts("contains", lambda a, b: b in a),
    "startsWith": _texts("startsWith", str.startswith),
    "endsWith": _texts("endsWith", str.endswith),
    "..": _range,
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "%": _modulo,
    "**": lambda a, b: float(number(a)) ** float(number(b)),
    "^": lambda a, b: float(number(a)) ** float(number(b)),
}

_OF_MOMENTS: Final[dict[str, Callable[..., Any]]] = {
    "Year": lambda t: t.year,
    "Month": lambda t: t.month,
    "Day": lambda t: t.day,
    "Hour": lambda t: t.hour,
    "Minute": lambda t: t.minute,
    "Second": lambda t: t.second,
    "Weekday": lambda t: _DAY[t.weekday()],
    "YearDay": lambda t: t.timetuple().tm_yday,
    "Unix": lambda t: int(t.timestamp()),
    "UnixMilli": lambda t: int(t.timestamp() * 1000),
    "UTC": lambda t: t.astimezone(dt.UTC),
    "Add": lambda t, d: t + d,
    "Sub": lambda t, other: t - other,
    "Before": lambda t, other: t < other,
    "After": lambda t, other: t > other,
    "Equal": lambda t, other: t == other,
}
_OF_DURATIONS: Final[dict[str, Callable[[dt.timedelta], Any]]] = {
    "Hours": lambda d: d / dt.timedelta(hours=1),
    "Minutes": lambda d: d / dt.timedelta(minutes=1),
    "Seconds": lambda d: d / dt.timedelta(seconds=1),
    "Milliseconds": lambda d: int(d / dt.timedelta(milliseconds=1)),
    "String": duration_text,
}
