"""Operators: arithmetic within 64 bits, order, indexing. Logic is the compiler's own."""

from __future__ import annotations

import math
import operator
from typing import Any, Final

from kubeling.apiserver.cel.errors import EvalError
from kubeling.apiserver.cel.library import Library
from kubeling.apiserver.cel.values import (
    MAX_INT,
    MAX_UINT,
    MIN_INT,
    NONE,
    KeyedList,
    Optional,
    SetList,
    Uint,
    contains,
    equal,
)

__all__ = ["OPERATORS", "checked_int"]

OPERATORS: Final = Library()
define = OPERATORS.define

# Equality and order

define("_==_(A, A) -> bool", linear=True)(equal)
define("@in(A, list(A)) -> bool", linear=True)(lambda value, items: contains(items, value))
define("@in(A, map(A, B)) -> bool")(lambda key, items: contains(items, key))


@define("_!=_(A, A) -> bool", linear=True)
def _unequal(left: Any, right: Any) -> bool:
    return not equal(left, right)


_NUMBERS: Final = ("int", "uint", "double")
_PAIRS: Final = [(left, right) for left in _NUMBERS for right in _NUMBERS] + [
    (same, same) for same in ("bool", "string", "bytes", "timestamp", "duration")
]
for _symbol, _compare in (
    ("_<_", operator.lt),
    ("_<=_", operator.le),
    ("_>_", operator.gt),
    ("_>=_", operator.ge),
):
    define(*(f"{_symbol}({left}, {right}) -> bool" for left, right in _PAIRS))(_compare)


# Arithmetic


def checked_int(value: int) -> int:
    """The value, where 64 bits hold it."""
    if MIN_INT <= value <= MAX_INT:
        return value
    raise EvalError("integer overflow")


def _checked_uint(value: int) -> Uint:
    if 0 <= value <= MAX_UINT:
        return Uint(value)
    raise EvalError("unsigned integer overflow")


def _quotient(left: int, right: int) -> int:
    """Towards zero, unlike Python's."""
    if right == 0:
        raise EvalError("division by zero")
    found = abs(left) // abs(right)
    return found if (left < 0) == (right < 0) else -found


def _remainder(left: int, right: int) -> int:
    if right == 0:
        raise EvalError("modulus by zero")
    return left - right * _quotient(left, right)


@define("_+_(int, int) -> int")
def _add(left: int, right: int) -> int:
    return checked_int(left + right)


@define("_-_(int, int) -> int")
def _subtract(left: int, right: int) -> int:
    return checked_int(left - right)


@define("_*_(int, int) -> int")
def _multiply(left: int, right: int) -> int:
    return checked_int(left * right)


define("_/_(int, int) -> int")(lambda left, right: checked_int(_quotient(left, right)))
define("_%_(int, int) -> int")(_remainder)
define("-_(int) -> int")(lambda value: checked_int(-value))

define("_+_(uint, uint) -> uint")(lambda left, right: _checked_uint(int(left) + int(right)))
define("_-_(uint, uint) -> uint")(lambda left, right: _checked_uint(int(left) - int(right)))
define("_*_(uint, uint) -> uint")(lambda left, right: _checked_uint(int(left) * int(right)))
define("_/_(uint, uint) -> uint")(lambda left, right: Uint(_quotient(int(left), int(right))))
define("_%_(uint, uint) -> uint")(lambda left, right: Uint(_remainder(int(left), int(right))))

define("_+_(double, double) -> double")(operator.add)
define("_-_(double, double) -> double")(operator.sub)
define("_*_(double, double) -> double")(operator.mul)
define("-_(double) -> double")(operator.neg)


@define("_/_(double, double) -> double")
def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    if math.isnan(left) or not left:
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _in_range(compute: Any) -> Any:
    def computed(left: Any, right: Any) -> Any:
        try:
            return compute(left, right)
        except OverflowError:
            raise EvalError("timestamp overflow") from None

    return computed


define(
    "_+_(timestamp, duration) -> timestamp",
    "_+_(duration, timestamp) -> timestamp",
    "_+_(duration, duration) -> duration",
)(_in_range(operator.add))
define(
    "_-_(timestamp, duration) -> timestamp",
    "_-_(timestamp, timestamp) -> duration",
    "_-_(duration, duration) -> duration",
)(_in_range(operator.sub))
define("-_(duration) -> duration")(operator.neg)

define("_+_(string, string) -> string", "_+_(bytes, bytes) -> bytes", linear=True)(operator.add)


@define("_+_(list(A), list(A)) -> list(A)", linear=True)
def _joined(left: list[Any], right: list[Any]) -> list[Any]:
    if isinstance(left, SetList | KeyedList):
        return left.merged(right)
    return [*left, *right]


# Indexing


@define("_[_](list(A), int) -> A")
def _item(items: list[Any], index: int) -> Any:
    if 0 <= index < len(items):
        return items[index]
    raise EvalError(f"index out of bounds: {index}")


@define("_[_](map(A, B), A) -> B")
def _value(items: dict[Any, Any], key: Any) -> Any:
    if contains(items, key):
        return items[key]
    raise EvalError(f"no such key: {key}")


@define("_[?_](list(A), int) -> optional_type(A)")
def _optional_item(items: list[Any], index: int) -> Optional:
    return Optional(items[index]) if 0 <= index < len(items) else NONE


@define("_[?_](map(A, B), A) -> optional_type(B)")
def _optional_value(items: dict[Any, Any], key: Any) -> Optional:
    return Optional(items[key]) if contains(items, key) else NONE


# What optionals hold is looked up by the name the compiler knows.
define("_[_](optional_type(list(A)), int) -> optional_type(A)")(
    lambda inner, index: _optional_item(inner.value, index) if inner.present else NONE
)
define("_[_](optional_type(map(A, B)), A) -> optional_type(B)")(
    lambda inner, key: _optional_value(inner.value, key) if inner.present else NONE
)
define("_[?_](optional_type(list(A)), int) -> optional_type(A)")(
    lambda inner, index: _optional_item(inner.value, index) if inner.present else NONE
)
define("_[?_](optional_type(map(A, B)), A) -> optional_type(B)")(
    lambda inner, key: _optional_value(inner.value, key) if inner.present else NONE
)
