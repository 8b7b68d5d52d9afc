"""Lists, sets and optionals: Kubernetes' list library, and CEL's sets and optionals."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import Any, Final

from kubeling.apiserver.cel.errors import EvalError
from kubeling.apiserver.cel.functions.operators import checked_int
from kubeling.apiserver.cel.library import Library
from kubeling.apiserver.cel.values import NONE, Optional, Uint, contains, equal

__all__ = ["CONTAINERS"]

CONTAINERS: Final = Library()
define = CONTAINERS.define

# Lists

_ORDERED: Final = ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")


@define(*(f"list({item}).isSorted() -> bool" for item in _ORDERED), linear=True)
def _is_sorted(items: list[Any]) -> bool:
    return all(left <= right for left, right in pairwise(items))


@define(*(f"list({item}).sum() -> {item}" for item in _ORDERED[:3]), linear=True)
def _sum(items: list[Any]) -> Any:
    total = sum(items)
    if items and isinstance(items[0], Uint):
        return Uint(total)
    return total if isinstance(total, float) else checked_int(total)


@define("list(duration).sum() -> duration", linear=True)
def _sum_of_durations(items: list[dt.timedelta]) -> dt.timedelta:
    return sum(items, dt.timedelta())


@define(*(f"list({item}).min() -> {item}" for item in _ORDERED), linear=True)
def _min(items: list[Any]) -> Any:
    if not items:
        raise EvalError("min called on empty list")
    return min(items)


@define(*(f"list({item}).max() -> {item}" for item in _ORDERED), linear=True)
def _max(items: list[Any]) -> Any:
    if not items:
        raise EvalError("max called on empty list")
    return max(items)


@define("list(A).indexOf(A) -> int", linear=True)
def _index_of(items: list[Any], value: Any) -> int:
    return next((index for index, item in enumerate(items) if equal(item, value)), -1)


@define("list(A).lastIndexOf(A) -> int", linear=True)
def _last_index_of(items: list[Any], value: Any) -> int:
    found = _index_of(items[::-1], value)
    return -1 if found < 0 else len(items) - 1 - found


@define("list(A).slice(int, int) -> list(A)", linear=True)
def _slice(items: list[Any], start: int, end: int) -> list[Any]:
    if not 0 <= start <= end <= len(items):
        raise EvalError(f"cannot slice({start}, {end}), list of length {len(items)}")
    return items[start:end]


@define("list(A).distinct() -> list(A)", linear=True)
def _distinct(items: list[Any]) -> list[Any]:
    made: list[Any] = []
    made.extend(item for item in items if not contains(made, item))
    return made


define("list(A).reverse() -> list(A)", linear=True)(lambda items: items[::-1])
define(*(f"list({item}).sort() -> list({item})" for item in _ORDERED), linear=True)(sorted)
define("list(list(A)).flatten() -> list(A)", linear=True)(
    lambda items: [inner for item in items for inner in item]
)
define("list(A).first() -> optional_type(A)")(lambda items: Optional(items[0]) if items else NONE)
define("list(A).last() -> optional_type(A)")(lambda items: Optional(items[-1]) if items else NONE)

# Sets


@define(".sets.contains(list(A), list(A)) -> bool", linear=True)
def _contains_all(items: list[Any], wanted: list[Any]) -> bool:
    return all(contains(items, item) for item in wanted)


@define(".sets.intersects(list(A), list(A)) -> bool", linear=True)
def _intersects(left: list[Any], right: list[Any]) -> bool:
    return any(contains(right, item) for item in left)


@define(".sets.equivalent(list(A), list(A)) -> bool", linear=True)
def _equivalent(left: list[Any], right: list[Any]) -> bool:
    return _contains_all(left, right) and _contains_all(right, left)


# Optionals

define(".optional.of(A) -> optional_type(A)")(Optional)
define(".optional.none() -> optional_type(A)")(lambda: NONE)
define(".optional.ofNonZeroValue(A) -> optional_type(A)")(
    lambda value: Optional(value) if value else NONE
)
define("optional_type(A).hasValue() -> bool")(lambda optional: optional.present)
define("optional_type(A).value() -> A")(Optional.get)
define("optional_type(A).orValue(A) -> A")(
    lambda optional, other: optional.value if optional.present else other
)
define("optional_type(A).or(optional_type(A)) -> optional_type(A)")(
    lambda optional, other: optional if optional.present else other
)
