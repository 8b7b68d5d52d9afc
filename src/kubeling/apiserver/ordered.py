"""Names in the order of lists: by namespace, then by name."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

__all__ = ["BEGINNING", "OrderedNames", "Position"]

Position = tuple[str, str]
"""A namespace and a name."""

BEGINNING: Final = ("", "")
"""Before everything."""


class OrderedNames:
    """A set of names in namespaces, always sorted, so that a page of it is found by bisection.

    A namespace of ``""`` asks for all of them (what belongs to none is in that one alone).
    """

    __slots__ = ("_namespaces",)

    def __init__(self, names: Iterable[Position] = ()) -> None:
        self._namespaces: dict[str, list[str]] = {}
        for namespace, name in names:
            self._namespaces.setdefault(namespace, []).append(name)
        for found in self._namespaces.values():
            found.sort()

    def add(self, namespace: str, name: str) -> None:
        """Adds what is not there yet."""
        insort(self._namespaces.setdefault(namespace, []), name)

    def remove(self, namespace: str, name: str) -> None:
        """Removes what is there."""
        names = self._namespaces[namespace]
        del names[bisect_left(names, name)]
        if not names:
            del self._namespaces[namespace]

    def behind(self, namespace: str, after: Position = BEGINNING) -> Iterator[Position]:
        """What comes after a position, in order."""
        for one, names, begin in self._ranges(namespace, after):
            for index in range(begin, len(names)):
                yield one, names[index]

    def count(self, namespace: str, after: Position = BEGINNING) -> int:
        """How many come after a position."""
        return sum(len(names) - begin for _, names, begin in self._ranges(namespace, after))

    def __bool__(self) -> bool:
        return bool(self._namespaces)

    def _ranges(self, namespace: str, after: Position) -> Iterator[tuple[str, Sequence[str], int]]:
        for one in (namespace,) if namespace else sorted(self._namespaces):
            names = self._namespaces.get(one, ())
            if one > after[0]:
                yield one, names, 0
            elif one == after[0]:
                yield one, names, bisect_right(names, after[1])
