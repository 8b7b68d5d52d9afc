"""Finding objects by label or field without looking at all of them.

An index is made when a selector first asks for it and there are enough objects to make it pay;
from then on every commit keeps it. All labels of a resource share one, since most objects have few
and clients ask for several of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubeling.apiserver.ordered import OrderedNames
from kubeling.apiserver.records import Record

__all__ = ["EVERYWHERE", "Index", "Narrowing", "Term"]

ValuesOf = Callable[[Record], Mapping[str, Any]]
"""What an index knows of an object, by label or field."""


@dataclass(frozen=True, slots=True)
class Term:
    """What a selector wants of one label or field: one of these values, or (``None``) any."""

    index: str
    values_of: ValuesOf
    key: str
    values: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Where to look for what a selector selects: all of it is there, and perhaps more."""

    name: str = ""
    """The only name there can be."""
    terms: tuple[Term, ...] = ()


EVERYWHERE: Final = Narrowing()


class Index:
    """The objects of one resource by the values of their labels, or of one of their fields."""

    def __init__(self, values_of: ValuesOf, records: Iterable[Record]) -> None:
        self._values_of = values_of
        self._keys: dict[str, dict[str, OrderedNames]] = {}
        for record in records:
            self.add(record)

    def find(self, term: Term) -> list[OrderedNames]:
        """The names that a term selects; in one of them each."""
        known = self._keys.get(term.key, {})
        if term.values is None:
            return list(known.values())
        return [known[value] for value in term.values if value in known]

    def add(self, record: Record) -> None:
        _, namespace, name = record.key
        for key, value in self._values_of(record).items():
            values = self._keys.setdefault(key, {})
            names = values.get(value)
            if names is None:
                names = values[value] = OrderedNames()
            names.add(namespace, name)

    def remove(self, record: Record) -> None:
        _, namespace, name = record.key
        for key, value in self._values_of(record).items():
            names = self._keys[key][value]
            names.remove(namespace, name)
            if not names:
                del self._keys[key][value]

    def follow(self, before: Record | None, after: Record | None) -> None:
        """As an object comes, goes or changes, which seldom changes what it is found by."""
        if before is None or after is None:
            if after is not None:
                self.add(after)
            elif before is not None:
                self.remove(before)
        elif self._values_of(before) != self._values_of(after):
            self.remove(before)
            self.add(after)
