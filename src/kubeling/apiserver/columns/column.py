"""One column of a Table, and the cells most kinds are made of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from kubeling.kube.durations import human_duration
from kubeling.kube.objects import Obj, parse_time

__all__ = [
    "AGE",
    "CREATED_AT",
    "NAME",
    "Cell",
    "Column",
    "Columns",
    "age",
    "age_of",
    "computed",
    "get",
    "joined",
    "number",
    "selector",
    "shown",
    "text",
    "timed",
]

Cell = Callable[[Obj, dt.datetime], Any]
"""What a column shows of an object at a moment."""


class Column(NamedTuple):
    """One column; kubectl shows those of priority 1 with ``-o wide`` only."""

    name: str
    type: str
    cell: Cell
    priority: int = 0
    description: str = ""


Columns = dict[tuple[str, str], tuple[Column, ...]]
"""Columns by group and kind."""


def get(obj: Mapping[str, Any], *path: str, default: Any = "") -> Any:
    """The value at a path; ``default`` where there is none."""
    value: Any = obj
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
        if value is None:
            return default
    return value


def shown(read: Callable[[Obj], Any]) -> Cell:
    """A cell that does not depend on the moment."""
    return lambda obj, now: read(obj)


def text(name: str, *path: str, default: str = "<none>", priority: int = 0) -> Column:
    """The text at a path."""
    return computed(name, lambda obj: str(get(obj, *path, default=default)), priority)


def number(name: str, *path: str, default: Any = 0) -> Column:
    """The number at a path."""
    return computed(name, lambda obj: get(obj, *path, default=default), type="integer")


def computed(
    name: str, read: Callable[[Obj], Any], priority: int = 0, type: str = "string"
) -> Column:
    """What a function reads off the object."""
    return Column(name, type, shown(read), priority)


def timed(name: str, cell: Cell) -> Column:
    """What also depends on the moment."""
    return Column(name, "string", cell)


def age_of(moment: Any, now: dt.datetime, never: str = "<unknown>") -> str:
    """How long ago an RFC 3339 moment was."""
    if not isinstance(moment, str) or not moment:
        return never
    try:
        then = parse_time(moment)
    except ValueError:
        return "<invalid>"
    return human_duration((now - then).total_seconds())


def age(
    name: str, find: Callable[[Obj], Any], priority: int = 0, never: str = "<unknown>"
) -> Column:
    """How long ago the found moment was."""
    return Column(name, "string", lambda obj, now: age_of(find(obj), now, never), priority)


def joined(mapping: Mapping[str, str]) -> str:
    """Labels as a selector spells them."""
    return ",".join(f"{key}={mapping[key]}" for key in sorted(mapping)) or "<none>"


def selector(*path: str) -> Callable[[Obj], str]:
    """The selector at a path: a map of labels, or one with expressions."""

    def read(obj: Obj) -> str:
        found = get(obj, *path, default={})
        labels = found.get("matchLabels")
        expressions = found.get("matchExpressions")
        if labels is None and expressions is None:
            return joined(found)
        terms = [joined(labels)] if labels else []
        terms += [_expression(term) for term in expressions or ()]
        return ",".join(terms) or "<none>"

    return read


def _expression(term: Mapping[str, Any]) -> str:
    key, values = term.get("key", ""), ",".join(term.get("values") or ())
    match term.get("operator"):
        case "Exists":
            return str(key)
        case "DoesNotExist":
            return f"!{key}"
        case operator:
            return f"{key} {str(operator).lower()} ({values})"


NAME: Final = computed("Name", lambda obj: get(obj, "metadata", "name"))
AGE: Final = age("Age", lambda obj: get(obj, "metadata", "creationTimestamp"))
CREATED_AT: Final = text("Created At", "metadata", "creationTimestamp", default="<unknown>")
