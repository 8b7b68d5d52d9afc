"""The current objects, by resource, namespace and name; read a thousand times for every write."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from kubeling.apiserver.indices import EVERYWHERE, Index, Narrowing, Term
from kubeling.apiserver.ordered import BEGINNING, OrderedNames, Position
from kubeling.apiserver.records import Record, StoreKey

__all__ = ["Memory"]

INDEX_FROM: Final = 500
"""How many objects of a resource there must be for an index to pay."""

_AT_ONCE: Final = 1000
"""How many objects are filed in an index before others have their turn."""

_Change = tuple[Record | None, Record | None]
"""An object before and after a commit."""


class Memory:
    """One record an object. Lists are ordered by namespace and name, and are the caller's own.

    Names are sorted when they are first listed, and from then on kept so.
    """

    def __init__(self, index_from: int = INDEX_FROM) -> None:
        self._objects: dict[str, dict[str, dict[str, Record]]] = {}
        self._orders: dict[str, OrderedNames] = {}
        self._indices: dict[str, dict[str, Index]] = {}
        self._index_from = index_from
        self._growing = asyncio.Lock()
        self._missed: dict[str, builtins.list[_Change]] = {}
        """What is committed while an index of a resource grows."""

    def get(self, key: StoreKey) -> Record | None:
        """The committed state of one object."""
        namespaces = self._objects.get(key.resource)
        names = namespaces.get(key.namespace) if namespaces else None
        return names.get(key.name) if names else None

    def list(self, resource: str, namespace: str = "") -> builtins.list[Record]:
        """The committed objects of a resource, or of one namespace, ordered by key."""
        namespaces = self._objects.get(resource, {})
        places = self._order(resource).behind(namespace)
        return [namespaces[one][name] for one, name in places]

    def behind(
        self,
        resource: str,
        namespace: str,
        after: Position = BEGINNING,
        where: Narrowing = EVERYWHERE,
    ) -> Iterator[Record]:
        """The committed objects after a position, in order, until the next write.

        What ``where`` excludes may be left out.
        """
        namespaces = self._objects.get(resource, {})
        for one, name in self._places(resource, namespace, after, where):
            yield namespaces[one][name]

    def count(self, resource: str, namespace: str = "", after: Position = BEGINNING) -> int:
        """How many objects of a resource there are, or how many of them after a position."""
        if after != BEGINNING:
            return self._order(resource).count(namespace, after)
        namespaces = self._objects.get(resource, {})
        if namespace:
            return len(namespaces.get(namespace, ()))
        return sum(len(names) for names in namespaces.values())

    def resources(self) -> Sequence[str]:
        """The resources of which there are objects."""
        return [resource for resource, found in self._objects.items() if any(found.values())]

    # --- order and indices -----------------------------------------------------------------

    def _order(self, resource: str) -> OrderedNames:
        order = self._orders.get(resource)
        if order is None:
            namespaces = self._objects.get(resource, {})
            order = self._orders[resource] = OrderedNames(
                (namespace, name) for namespace, names in namespaces.items() for name in names
            )
        return order

    def _places(
        self, resource: str, namespace: str, after: Position, where: Narrowing
    ) -> Iterable[Position]:
        """The smallest part of the order in which all that is looked for must be."""
        if where.name:
            return self._named(resource, namespace, after, where.name)
        best = [self._order(resource)]
        if where.terms and (size := self.count(resource, namespace)) >= self._index_from:
            for term in where.terms:
                found = self._index(resource, term).find(term)
                smaller = sum(names.count(namespace) for names in found)
                if smaller < size:
                    best, size = found, smaller
        if len(best) == 1:
            return best[0].behind(namespace, after)
        return sorted(place for names in best for place in names.behind(namespace, after))

    def _named(
        self, resource: str, namespace: str, after: Position, name: str
    ) -> Iterator[Position]:
        namespaces = self._objects.get(resource, {})
        for one in (namespace,) if namespace else sorted(namespaces):
            if name in namespaces.get(one, ()) and (one, name) > after:
                yield one, name

    def _index(self, resource: str, term: Term) -> Index:
        indices = self._indices.setdefault(resource, {})
        index = indices.get(term.index)
        if index is None:
            index = indices[term.index] = Index(term.values_of, self.list(resource))
        return index

    async def grow(self, resource: str, where: Narrowing) -> None:
        """Makes the indices that ``where`` asks for, little by little, so that nobody waits long.

        Without it they are made when they are looked into.
        """
        for term in where.terms:
            async with self._growing:
                if self._lacks(resource, term):
                    await self._grow(resource, term)

    def _lacks(self, resource: str, term: Term) -> bool:
        known = self._indices.get(resource, {})
        return term.index not in known and self.count(resource) >= _AT_ONCE

    async def _grow(self, resource: str, term: Term) -> None:
        missed = self._missed[resource] = []
        try:
            index, records = Index(term.values_of, ()), self.list(resource)
            for first in range(0, len(records), _AT_ONCE):
                for record in records[first : first + _AT_ONCE]:
                    index.add(record)
                await asyncio.sleep(0)
            for before, after in missed:
                index.follow(before, after)
        finally:
            del self._missed[resource]
        self._indices.setdefault(resource, {}).setdefault(term.index, index)

    def _keep(self, record: Record) -> None:
        resource, namespace, name = record.key
        names = self._objects.setdefault(resource, {}).setdefault(namespace, {})
        previous = names.get(name)
        names[name] = record
        if previous is None and (order := self._orders.get(resource)) is not None:
            order.add(namespace, name)
        self._file(resource, previous, record)

    def _file(self, resource: str, before: Record | None, after: Record | None) -> None:
        for index in self._indices.get(resource, {}).values():
            index.follow(before, after)
        if (missed := self._missed.get(resource)) is not None:
            missed.append((before, after))

    def _drop(self, key: StoreKey) -> None:
        resource, namespace, name = key
        previous = self._objects[resource][namespace].pop(name)
        if (order := self._orders.get(resource)) is not None:
            order.remove(namespace, name)
        self._file(resource, previous, None)
