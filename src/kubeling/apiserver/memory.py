"""The current objects, by resource, namespace and name; read a thousand times for every write."""

from __future__ import annotations

import builtins
from bisect import bisect_right
from collections.abc import Sequence

from kubeling.apiserver.records import Record, StoreKey

__all__ = ["Memory"]


class Memory:
    """One record an object. Lists are ordered by namespace and name, and are the caller's own.

    Names are sorted when they are first listed and stay so until one comes or goes, because most
    writes change what is there already.
    """

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, dict[str, Record]]] = {}
        self._orders: dict[tuple[str, str], list[str]] = {}

    def get(self, key: StoreKey) -> Record | None:
        """The committed state of one object."""
        namespaces = self._objects.get(key.resource)
        names = namespaces.get(key.namespace) if namespaces else None
        return names.get(key.name) if names else None

    def list(self, resource: str, namespace: str = "") -> list[Record]:
        """The committed objects of a resource, or of one namespace, ordered by key."""
        return [
            self._objects[resource][one][name]
            for one in self._spread(resource, namespace)
            for name in self._order(resource, one)
        ]

    def named(self, resource: str, namespace: str, name: str) -> builtins.list[Record]:
        """The committed objects of a name, in one namespace or in all."""
        found = (
            self.get(StoreKey(resource, one, name)) for one in self._spread(resource, namespace)
        )
        return [record for record in found if record is not None]

    def page(
        self, resource: str, namespace: str, after: tuple[str, str] | None, limit: int
    ) -> tuple[builtins.list[Record], int]:
        """As :meth:`list`, at most so many behind a namespace and name, and how many follow."""
        found: builtins.list[Record] = []
        rest = 0
        for one in self._spread(resource, namespace):
            order, begin = self._order(resource, one), 0
            if after is not None and one <= after[0]:
                begin = bisect_right(order, after[1]) if one == after[0] else len(order)
            end = min(begin + limit - len(found), len(order))
            names = self._objects[resource][one]
            found += [names[name] for name in order[begin:end]]
            rest += len(order) - end
        return found, rest

    def _spread(self, resource: str, namespace: str) -> Sequence[str]:
        """The namespaces to look in, in order."""
        namespaces = self._objects.get(resource, {})
        if namespace:
            return (namespace,) if namespace in namespaces else ()
        return sorted(namespaces)

    def _order(self, resource: str, namespace: str) -> builtins.list[str]:
        """The names in a namespace, sorted until one comes or goes."""
        order = self._orders.get((resource, namespace))
        if order is None:
            order = sorted(self._objects[resource][namespace])
            self._orders[resource, namespace] = order
        return order

    def count(self, resource: str, namespace: str = "") -> int:
        """How many objects of a resource there are."""
        namespaces = self._objects.get(resource, {})
        if namespace:
            return len(namespaces.get(namespace, ()))
        return sum(len(names) for names in namespaces.values())

    def resources(self) -> Sequence[str]:
        """The resources of which there are objects."""
        return [resource for resource, found in self._objects.items() if any(found.values())]

    def _keep(self, record: Record) -> None:
        resource, namespace, name = record.key
        names = self._objects.setdefault(resource, {}).setdefault(namespace, {})
        if name not in names:
            self._orders.pop((resource, namespace), None)
        names[name] = record

    def _drop(self, key: StoreKey) -> None:
        del self._objects[key.resource][key.namespace][key.name]
        self._orders.pop((key.resource, key.namespace), None)
