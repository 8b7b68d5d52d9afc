"""Values by dotted name, and the same values nested, as expressions read them.

The nested form is kept and brought up to date with what is new, because a scope may hold the
outputs of thousands of tasks, and every one of their successors may compute something from it.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["ABSENT", "Names", "Tree", "merged"]

ABSENT: Final = object()
"""The value of an output that a skipped or omitted node would have given; nil in expressions."""


class Names(UserDict[str, Any]):
    """A flat table that tells a tree what is new in it."""

    def __init__(self, tree: Tree, values: Mapping[str, Any] | None = None) -> None:
        self._tree = tree
        super().__init__(values or {})

    def __setitem__(self, name: str, value: Any) -> None:
        self.data[name] = value
        self._tree.news.append((name, value))


class Tree:
    """The nested form of one or more tables."""

    def __init__(self) -> None:
        self.news: list[tuple[str, Any]] = []
        self._nested: dict[str, Any] = {}

    def nested(self) -> dict[str, Any]:
        """The values as they are now; not to be changed."""
        for name, value in self.news:
            _place(self._nested, name, None if value is ABSENT else value)
        self.news.clear()
        return self._nested


def merged(outer: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    """Nested values over others; only what both have is copied."""
    result = dict(outer)
    for name, value in inner.items():
        known = result.get(name)
        if not (isinstance(known, dict) and known):
            result[name] = value
        elif isinstance(value, dict):
            result[name] = merged(known, value)
    return result


def _place(nested: dict[str, Any], name: str, value: Any) -> None:
    """Files a dotted name; where a text and members share a name, the members win."""
    *folders, last = name.split(".")
    place = nested
    for folder in folders:
        inner = place.get(folder)
        if not isinstance(inner, dict):
            inner = place[folder] = {}
        place = inner
    known = place.get(last)
    if isinstance(known, dict) and isinstance(value, dict):
        place[last] = {**known, **value}
    elif not (isinstance(known, dict) and known):
        place[last] = value
