"""The built-in functions of the expression language, by the names of expr-lang 1.17.

Beside them are those that Argo adds (``asInt``, ``asFloat``, ``jsonpath``, ``toJson``) and, as
``sprig.NAME``, the functions of :mod:`.sprig`. Functions that compute something per element get the
element's closure instead of a value.
"""

from __future__ import annotations

import base64
import datetime as dt
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from kubeling.kube.durations import parse_duration
from kubeling.workflows.expressions import gotime
from kubeling.workflows.expressions.errors import ExpressionError
from kubeling.workflows.expressions.exprlang_operators import equal, number, shown, truth, whole
from kubeling.workflows.expressions.gotext import go_json, go_text, parse_json

__all__ = ["FUNCTIONS", "WITH_PREDICATE", "Predicate"]

Predicate = Callable[[Any, int], Any]
"""Computes something for an element and its index."""


def _members(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [value[key] for key in sorted(value, key=str)]
    if isinstance(value, list):
        return value
    raise ExpressionError(f"{shown(value)} is not a list")


def _tests(value: Any, holds: Predicate) -> list[bool]:
    return [truth(holds(one, place)) for place, one in enumerate(_members(value))]


def _found(value: Any, holds: Predicate, *, last: bool = False) -> int:
    places = [place for place, good in enumerate(_tests(value, holds)) if good]
    return (places[-1] if last else places[0]) if places else -1


def _find(value: Any, holds: Predicate, *, last: bool = False) -> Any:
    place = _found(value, holds, last=last)
    return _members(value)[place] if place >= 0 else None


def _group(value: Any, by: Predicate) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for place, one in enumerate(_members(value)):
        groups.setdefault(by(one, place), []).append(one)
    return groups


def _descending(order: Any) -> bool:
    if order not in ("asc", "desc"):
        raise ExpressionError(f"invalid order {order}, expected asc or desc")
    return bool(order == "desc")


def _sort_by(value: Any, by: Predicate, order: str = "asc") -> list[Any]:
    keyed = [(by(one, place), one) for place, one in enumerate(_members(value))]
    keyed.sort(key=lambda pair: pair[0], reverse=_descending(order))
    return [one for _, one in keyed]


WITH_PREDICATE: Final[dict[str, Callable[..., Any]]] = {
    "all": lambda v, holds: all(_tests(v, holds)),
    "any": lambda v, holds: any(_tests(v, holds)),
    "none": lambda v, holds: not any(_tests(v, holds)),
    "one": lambda v, holds: sum(_tests(v, holds)) == 1,
    "count": lambda v, holds=lambda one, _: one: sum(_tests(v, holds)),
    "filter": lambda v, holds: [
        one for one, good in zip(_members(v), _tests(v, holds), strict=True) if good
    ],
    "map": lambda v, of: [of(one, place) for place, one in enumerate(_members(v))],
    "find": _find,
    "findIndex": _found,
    "findLast": lambda v, holds: _find(v, holds, last=True),
    "findLastIndex": lambda v, holds: _found(v, holds, last=True),
    "groupBy": _group,
    "sortBy": _sort_by,
    "sum": lambda v, of=lambda one, _: one: sum(
        number(of(one, place)) for place, one in enumerate(_members(v))
    ),
}
"""Functions whose second argument is computed per element; ``reduce`` is read by the parser."""


def _int(value: Any) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            raise ExpressionError(f"invalid operation: int({value})") from None
    return int(number(value))


def _float(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise ExpressionError(f"invalid operation: float({value})") from None
    return float(number(value))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ExpressionError(f"{shown(value)} is not a string; convert it with string")
    return value


def _flat(values: tuple[Any, ...]) -> list[Any]:
    flat: list[Any] = []
    for value in values:
        flat += _flat(tuple(value)) if isinstance(value, list) else [number(value)]
    return flat


def _mean(numbers: list[Any]) -> float:
    return math.fsum(numbers) / len(numbers) if numbers else 0.0


def _median(numbers: list[Any]) -> float:
    ordered, half = sorted(numbers), len(numbers) // 2
    return _mean(ordered[half - 1 + len(ordered) % 2 : half + 1])


def _round(value: Any) -> float:
    """Halves go away from zero."""
    return float(math.copysign(math.floor(abs(number(value)) + 0.5), value))


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if not separator:
        parts = list(_text(text))
        return parts if limit < 0 else [*parts[: limit - 1], "".join(parts[limit - 1 :])]
    return _text(text).split(separator, limit - 1 if limit > 0 else -1)


def _split_after(text: str, separator: str, limit: int = -1) -> list[str]:
    parts = _split(text, separator, limit)
    return [*(part + separator for part in parts[:-1]), *parts[-1:]]


def _join(parts: Any, separator: str = "") -> str:
    return separator.join(_text(part) for part in _members(parts))


def _len(value: Any) -> int:
    if isinstance(value, str | list | Mapping):
        return len(value)
    raise ExpressionError(f"invalid argument for len (type {_type(value)})")


def _get(value: Any, key: Any) -> Any:
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, list) and not isinstance(key, str | bool):
        index = whole(key)
        return value[index] if -len(value) <= index < len(value) else None
    return None


def _flatten(value: Any) -> list[Any]:
    return [
        inner
        for one in _members(value)
        for inner in (_flatten(one) if isinstance(one, list) else [one])
    ]


def _uniq(value: Any) -> list[Any]:
    kept: list[Any] = []
    for one in _members(value):
        if not any(equal(one, known) for known in kept):
            kept.append(one)
    return kept


def _sort(value: Any, order: str = "asc") -> list[Any]:
    return sorted(_members(value), reverse=_descending(order))


def _type(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return "time.Time"
    if isinstance(value, dt.timedelta):
        return "time.Duration"
    return _TYPES.get(type(value), "unknown")


def _date(text: str, layout: str = "", where: str = "") -> dt.datetime:
    place = gotime.zone(where)
    if layout:
        return gotime.parse_moment(text, layout, place)
    for known in gotime.LAYOUTS:
        try:
            return gotime.parse_moment(text, known, place)
        except ExpressionError:
            continue
    raise ExpressionError(f"invalid date {text}")


def _duration(text: str) -> dt.timedelta:
    sign = -1 if text.startswith("-") else 1
    try:
        return dt.timedelta(seconds=sign * parse_duration(text.lstrip("+-")))
    except ValueError as error:
        raise ExpressionError(f"time: invalid duration {text!r}: {error}") from None


def _from_base64(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode(errors="replace")
    except ValueError as error:
        raise ExpressionError(f"illegal base64 data: {error}") from None


def _last_index(text: str, part: str) -> int:
    return _text(text).rfind(part)


_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF

FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "asInt": _int,
    "asFloat": _float,
    "int": _int,
    "float": _float,
    "string": go_text,
    "toJson": go_json,
    "toJSON": lambda v: go_json(v, "  "),
    "fromJSON": lambda s: parse_json(_text(s)),
    "toBase64": lambda s: base64.b64encode(_text(s).encode()).decode(),
    "fromBase64": _from_base64,
    "len": _len,
    "type": _type,
    "abs": lambda v: abs(number(v)),
    "ceil": lambda v: float(math.ceil(number(v))),
    "floor": lambda v: float(math.floor(number(v))),
    "round": _round,
    "trim": lambda s, signs=None: _text(s).strip(signs),
    "trimPrefix": lambda s, part=" ": _text(s).removeprefix(part),
    "trimSuffix": lambda s, part=" ": _text(s).removesuffix(part),
    "upper": lambda s: _text(s).upper(),
    "lower": lambda s: _text(s).lower(),
    "split": _split,
    "splitAfter": _split_after,
    "replace": lambda s, old, new, n=-1: _text(s).replace(old, new, n),
    "repeat": lambda s, n: _text(s) * whole(n),
    "join": _join,
    "indexOf": lambda s, part: _text(s).find(part),
    "lastIndexOf": _last_index,
    "hasPrefix": lambda s, part: _text(s).startswith(part),
    "hasSuffix": lambda s, part: _text(s).endswith(part),
    "max": lambda *values: max(_flat(values)),
    "min": lambda *values: min(_flat(values)),
    "mean": lambda *values: _mean(_flat(values)),
    "median": lambda *values: _median(_flat(values)),
    "now": lambda where="": dt.datetime.now(gotime.zone(where)),
    "duration": _duration,
    "date": _date,
    "timezone": gotime.zone,
    "first": lambda v: _get(v, 0),
    "last": lambda v: _get(v, -1),
    "get": _get,
    "take": lambda v, n: _members(v)[: whole(n)],
    "keys": lambda v: sorted(v, key=str),
    "values": lambda v: [v[key] for key in sorted(v, key=str)],
    "toPairs": lambda v: [[key, v[key]] for key in sorted(v, key=str)],
    "fromPairs": lambda pairs: dict(pairs),
    "reverse": lambda v: _members(v)[::-1],
    "uniq": _uniq,
    "concat": lambda *lists: [one for listed in lists for one in _members(listed)],
    "flatten": _flatten,
    "sort": _sort,
    "bitand": lambda a, b: whole(a) & whole(b),
    "bitor": lambda a, b: whole(a) | whole(b),
    "bitxor": lambda a, b: whole(a) ^ whole(b),
    "bitnand": lambda a, b: whole(a) & ~whole(b),
    "bitnot": lambda a: ~whole(a),
    "bitshl": lambda a, n: whole(a) << whole(n),
    "bitshr": lambda a, n: whole(a) >> whole(n),
    "bitushr": lambda a, n: (whole(a) & _MASK) >> whole(n),
}

_TYPES: Final[dict[type, str]] = {
    type(None): "nil", bool: "bool", int: "int", float: "float", str: "string", list: "array",
    dict: "map",
}  # fmt: skip
