"""Sprig's functions of lists and maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final

from kubeling.workflows.expressions.errors import ExpressionError
from kubeling.workflows.expressions.exprlang_operators import equal
from kubeling.workflows.expressions.sprig.casts import is_empty, members, to_int, to_text

__all__ = ["FUNCTIONS"]


def _chunk(size: Any, value: Any) -> list[list[Any]]:
    width, listed = max(1, to_int(size)), members(value, "chunk")
    return [listed[place : place + width] for place in range(0, len(listed), width)]


def _has(needle: Any, value: Any) -> bool:
    return any(equal(needle, one) for one in members(value, "has")) if value is not None else False


def _uniq(value: Any) -> list[Any]:
    kept: list[Any] = []
    for one in members(value, "uniq"):
        if not _has(one, kept):
            kept.append(one)
    return kept


def _slice(value: Any, *bounds: Any) -> list[Any]:
    listed = members(value, "slice")
    start = to_int(bounds[0]) if bounds else 0
    end = to_int(bounds[1]) if len(bounds) > 1 else len(listed)
    return listed[start:end]


def _dict(*pairs: Any) -> dict[str, Any]:
    padded = [*pairs, ""] if len(pairs) % 2 else list(pairs)
    return {to_text(key): value for key, value in zip(padded[::2], padded[1::2], strict=True)}


def _set(target: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    return {**target, key: value}


def _unset(target: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in target.items() if name != key}


def _pluck(key: str, *maps: Mapping[str, Any]) -> list[Any]:
    return [one[key] for one in maps if key in one]


def _keys(*maps: Mapping[str, Any]) -> list[str]:
    return [key for one in maps for key in sorted(one)]


def _merge(over: bool) -> Callable[..., dict[str, Any]]:
    def merge(target: Mapping[str, Any], *sources: Mapping[str, Any]) -> dict[str, Any]:
        merged = dict(target)
        for source in sources:
            for key, value in source.items():
                own = merged.get(key)
                if isinstance(own, Mapping) and isinstance(value, Mapping):
                    merged[key] = merge(own, value)
                elif (over and not is_empty(value)) or is_empty(own):
                    merged[key] = value
        return merged

    return merge


def _dig(*given: Any) -> Any:
    if len(given) < 3:
        raise ExpressionError("dig needs at least three arguments")
    *path, default, value = given
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return default
        value = value[key]
    return value


def _last(value: Any) -> Any:
    listed = members(value, "last")
    return listed[-1] if listed else None


def _first(value: Any) -> Any:
    listed = members(value, "first")
    return listed[0] if listed else None


def _without(value: Any, *unwanted: Any) -> list[Any]:
    return [one for one in members(value, "without") if not _has(one, list(unwanted))]


_ALSO_MUST: Final[dict[str, Callable[..., Any]]] = {
    "append": lambda value, one: [*members(value, "push"), one],
    "push": lambda value, one: [*members(value, "push"), one],
    "prepend": lambda value, one: [one, *members(value, "prepend")],
    "first": _first,
    "rest": lambda value: members(value, "rest")[1:],
    "last": _last,
    "initial": lambda value: members(value, "initial")[:-1],
    "reverse": lambda value: members(value, "reverse")[::-1],
    "uniq": _uniq,
    "without": _without,
    "has": lambda needle, value: _has(needle, value),
    "slice": _slice,
    "chunk": _chunk,
    "compact": lambda value: [one for one in members(value, "compact") if not is_empty(one)],
    "merge": _merge(over=False),
    "mergeOverwrite": _merge(over=True),
    "deepCopy": deepcopy,
}

FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "list": lambda *values: list(values),
    "tuple": lambda *values: list(values),
    "concat": lambda *lists: [one for listed in lists for one in members(listed, "concat")],
    "dict": _dict,
    "get": lambda target, key: target.get(key, ""),
    "set": _set,
    "unset": _unset,
    "hasKey": lambda target, key: key in target,
    "pluck": _pluck,
    "keys": _keys,
    "values": lambda target: [target[key] for key in sorted(target)],
    "pick": lambda target, *keys: {key: target[key] for key in keys if key in target},
    "omit": lambda target, *keys: {k: v for k, v in target.items() if k not in keys},
    "dig": _dig,
    **_ALSO_MUST,
    **{f"must{name[0].upper()}{name[1:]}": act for name, act in _ALSO_MUST.items()},
}
