"""Resource quotas, enforced when objects are created or grow.

What is used is counted from the objects themselves plus what is being written at this moment, so
two concurrent creations cannot share the last free place, and a quota is exact from the instant it
exists. Between two writes only what changed is counted, or a namespace would cost more with every
object in it. (``status.used``, for people to read, is kept by a controller.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from kubeling.apiserver.storage import Store
from kubeling.apiserver.tallies import Tally
from kubeling.kube.errors import Forbidden
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import Quantity, parse_quantity
from kubeling.kube.quotas import collection_of, in_scope, shown, unstated, usage

__all__ = ["QuotaKeeper"]

Usage = Mapping[str, Quantity]


class QuotaKeeper:
    """Enforces the quotas of all namespaces."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._under_way: dict[str, list[tuple[str, Obj, Obj | None]]] = {}
        self._tallies: dict[str, dict[tuple[str, str], tuple[Obj, Tally]]] = {}
        """By namespace, then by quota and what it counts; with the quota's rules."""

    def limits(self, namespace: str) -> bool:
        """Whether a namespace has quotas; what belongs to none has none."""
        if namespace and self._store.count("/resourcequotas", namespace):
            return True
        self._tallies.pop(namespace, None)
        return False

    @contextlib.contextmanager
    def reserve(self, storage: str, new: Obj, old: Obj | None) -> Iterator[None]:
        """Counts a write as done while it is made; raises :class:`Forbidden` if too much."""
        namespace = new["metadata"].get("namespace", "")
        self._check(storage, namespace, new, old)
        pending = (storage, new, old)
        under_way = self._under_way.setdefault(namespace, [])
        under_way.append(pending)
        try:
            yield
        finally:
            under_way.remove(pending)

    def _check(self, storage: str, namespace: str, new: Obj, old: Obj | None) -> None:
        group, plural = storage.split("/", 1)
        asked = usage(group, plural, new)
        before = usage(group, plural, old) if old is not None else {}
        for record in self._store.list("/resourcequotas", namespace):
            quota = record.obj
            if not in_scope(quota, group, plural, new):
                continue
            limits = {
                name: parse_quantity(value)
                for name, value in ((quota.get("spec") or {}).get("hard") or {}).items()
            }
            if storage == "/pods" and old is None:
                _require_stated(quota, limits, new)
            # What was out of scope until now counts as a whole.
            known = before if old is not None and in_scope(quota, group, plural, old) else {}
            growing = {
                name: asked[name] - known.get(name, Decimal(0))
                for name in limits
                if asked.get(name, Decimal(0)) > known.get(name, Decimal(0))
            }
            if growing:
                self._compare(storage, quota, limits, growing, new)

    def _compare(self, storage: str, quota: Obj, limits: Usage, growing: Usage, new: Obj) -> None:
        used = self._used(quota, growing)
        over = [name for name in sorted(growing) if used[name] + growing[name] > limits[name]]
        if not over:
            return
        group, plural = storage.split("/", 1)
        asked, held, limited = (
            ",".join(f"{name}={shown(name, amounts[name])}" for name in over)
            for amounts in (growing, used, limits)
        )
        why = (
            f"exceeded quota: {quota['metadata']['name']}, requested: {asked}, used: {held}, "
            f"limited: {limited}"
        )
        raise Forbidden.of(group, plural, new["metadata"].get("name", ""), why)

    def _used(self, quota: Obj, names: Iterable[str]) -> dict[str, Quantity]:
        namespace = quota["metadata"]["namespace"]
        wanted = set(names)
        total: dict[str, Quantity] = dict.fromkeys(wanted, Decimal(0))
        for group, plural in {collection_of(name) for name in wanted}:
            for name, amount in self._tally(quota, f"{group}/{plural}").sums().items():
                if name in total:
                    total[name] += amount
        for storage, new, old in self._under_way.get(namespace, ()):
            self._add(total, quota, storage, new)
            if old is not None:
                self._add(total, quota, storage, old, sign=-1)
        return total

    def _tally(self, quota: Obj, storage: str) -> Tally:
        metadata, spec = quota["metadata"], quota.get("spec") or {}
        known = self._tallies.setdefault(metadata["namespace"], {})
        kept = known.get((metadata["uid"], storage))
        if kept is None or kept[0] != spec:
            group, plural = storage.split("/", 1)

            def amounts(obj: Obj) -> Usage:
                return usage(group, plural, obj) if in_scope(quota, group, plural, obj) else {}

            kept = spec, Tally(self._store, storage, metadata["namespace"], amounts)
            known[metadata["uid"], storage] = kept
        return kept[1]

    def _add(
        self, total: dict[str, Quantity], quota: Obj, storage: str, obj: Obj, sign: int = 1
    ) -> None:
        group, plural = storage.split("/", 1)
        if in_scope(quota, group, plural, obj):
            for name, amount in usage(group, plural, obj).items():
                if name in total:
                    total[name] += sign * amount


def _require_stated(quota: Obj, limits: Usage, new: Obj) -> None:
    """A quota on cpu or memory obliges every container to say how much it wants."""
    if silent := unstated(limits, new):
        listed = "; ".join(f"{name} for: {','.join(found)}" for name, found in silent.items())
        why = f"failed quota: {quota['metadata']['name']}: must specify {listed}"
        raise Forbidden.of("", "pods", new["metadata"].get("name", ""), why)
