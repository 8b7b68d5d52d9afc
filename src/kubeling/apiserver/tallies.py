"""What the objects of a namespace come to together, without counting them all each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from kubeling.apiserver.records import Record, WatchExpired
from kubeling.apiserver.storage import Store
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import Quantity

__all__ = ["Tally"]

Amounts = Callable[[Obj], Mapping[str, Quantity]]
"""What one object counts for, by name."""


class Tally:
    """The sums over one collection in one namespace.

    They are as of the last commit whenever they are asked for: what was committed since the last
    time is added and subtracted. Where too much was, all is counted again.
    """

    def __init__(self, store: Store, storage: str, namespace: str, amounts: Amounts) -> None:
        self._store = store
        self._storage = storage
        self._namespace = namespace
        self._amounts = amounts
        self._sums: dict[str, Quantity] = {}
        self._version: int | None = None

    def sums(self) -> Mapping[str, Quantity]:
        """The sums; read them before the next write."""
        try:
            self._follow()
        except WatchExpired:
            self._recount()
        self._version = self._store.version
        return self._sums

    def _follow(self) -> None:
        if self._version is None:
            raise WatchExpired
        for event in self._store.changes(self._storage, self._version):
            if event.record.key.namespace == self._namespace:
                if event.previous is not None:
                    self._add(event.previous, -1)
                if event.type != "DELETED":
                    self._add(event.record, 1)

    def _recount(self) -> None:
        self._sums = {}
        for record in self._store.list(self._storage, self._namespace):
            self._add(record, 1)

    def _add(self, record: Record, sign: int) -> None:
        for name, amount in self._amounts(record.glance()).items():
            self._sums[name] = self._sums.get(name, Decimal(0)) + sign * amount
