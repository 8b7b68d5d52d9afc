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
from typing import Final

from kubeling.apiserver.storage import Store
from kubeling.apiserver.tallies import Tally
from kubeling.kube.errors import Forbidden
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import Quantity, format_quantity, parse_quantity

__all__ = ["QuotaKeeper", "pod_total", "usage"]

Usage = Mapping[str, Quantity]

_COUNTED: Final = {
    "/configmaps": "configmaps",
    "/persistentvolumeclaims": "persistentvolumeclaims",
    "/pods": "pods",
    "/replicationcontrollers": "replicationcontrollers",
    "/resourcequotas": "resourcequotas",
    "/secrets": "secrets",
    "/services": "services",
}
_PLAIN_REQUESTS: Final = ("cpu", "memory", "ephemeral-storage")
_FINISHED: Final = ("Succeeded", "Failed")


def usage(storage: str, obj: Obj) -> dict[str, Quantity]:
    """What one object counts for, by quota resource name."""
    group, plural = storage.split("/", 1)
    used: dict[str, Quantity] = {}
    used[f"count/{plural}.{group}" if group else f"count/{plural}"] = Decimal(1)
    match storage:
        case "/pods":
            if (obj.get("status") or {}).get("phase") in _FINISHED:
                return used
            used |= _pod_usage(obj.get("spec") or {})
        case "/persistentvolumeclaims":
            used |= _claim_usage(obj.get("spec") or {})
        case "/services":
            used |= _service_usage(obj.get("spec") or {})
        case _:
            pass
    if storage in _COUNTED:
        used[_COUNTED[storage]] = Decimal(1)
    return used


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
        asked = usage(storage, new)
        before = usage(storage, old) if old is not None else {}
        for record in self._store.list("/resourcequotas", namespace):
            quota = record.obj
            if not _in_scope(quota, storage, new):
                continue
            limits = {
                name: parse_quantity(value)
                for name, value in ((quota.get("spec") or {}).get("hard") or {}).items()
            }
            _require_stated(storage, quota, limits, new, old)
            growing = {
                name: asked[name] - before.get(name, Decimal(0))
                for name in limits
                if asked.get(name, Decimal(0)) > before.get(name, Decimal(0))
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
            ",".join(
                f"{name}={format_quantity(amounts[name], binary=_binary(name))}" for name in over
            )
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
        for storage in {_collection(name) for name in wanted}:
            for name, amount in self._tally(quota, storage).sums().items():
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

            def amounts(obj: Obj) -> Usage:
                return usage(storage, obj) if _in_scope(quota, storage, obj) else {}

            kept = spec, Tally(self._store, storage, metadata["namespace"], amounts)
            known[metadata["uid"], storage] = kept
        return kept[1]

    def _add(
        self, total: dict[str, Quantity], quota: Obj, storage: str, obj: Obj, sign: int = 1
    ) -> None:
        if _in_scope(quota, storage, obj):
            for name, amount in usage(storage, obj).items():
                if name in total:
                    total[name] += sign * amount


def _collection(name: str) -> str:
    """Which collection a quota resource name counts."""
    if name.startswith("count/"):
        plural, _, group = name.removeprefix("count/").partition(".")
        return f"{group}/{plural}"
    if name == "requests.storage" or ".storageclass.storage.k8s.io/" in name:
        return "/persistentvolumeclaims"
    if name.startswith("services"):
        return "/services"
    if f"/{name}" in _COUNTED:
        return f"/{name}"
    return "/pods"


def _pod_usage(spec: Obj) -> dict[str, Quantity]:
    used: dict[str, Quantity] = {}
    for kind in ("requests", "limits"):
        for name, amount in pod_total(spec, kind).items():
            used[f"{kind}.{name}"] = amount
            if kind == "requests" and name in _PLAIN_REQUESTS:
                used[name] = amount
    return used


def pod_total(spec: Obj, kind: str) -> dict[str, Quantity]:
    """Containers and sidecars add up; other init containers run alone, so the largest counts."""
    total: dict[str, Quantity] = {}
    largest: dict[str, Quantity] = {}
    for container in spec.get("containers") or ():
        _accumulate(total, _amounts(container, kind))
    for container in spec.get("initContainers") or ():
        amounts = _amounts(container, kind)
        if container.get("restartPolicy") == "Always":
            _accumulate(total, amounts)
        for name, amount in amounts.items():
            largest[name] = max(largest.get(name, Decimal(0)), amount)
    for name, amount in largest.items():
        total[name] = max(total.get(name, Decimal(0)), amount)
    return total


def _accumulate(total: dict[str, Quantity], amounts: Usage) -> None:
    for name, amount in amounts.items():
        total[name] = total.get(name, Decimal(0)) + amount


def _amounts(container: Obj, kind: str) -> dict[str, Quantity]:
    resources = container.get("resources") or {}
    stated = resources.get(kind) or {}
    if kind == "requests":
        stated = {**(resources.get("limits") or {}), **stated}
    return {name: parse_quantity(value) for name, value in stated.items()}


def _claim_usage(spec: Obj) -> dict[str, Quantity]:
    requests = (spec.get("resources") or {}).get("requests") or {}
    amount = parse_quantity(requests.get("storage", "0"))
    used = {"requests.storage": amount}
    if storage_class := spec.get("storageClassName"):
        prefix = f"{storage_class}.storageclass.storage.k8s.io"
        used[f"{prefix}/requests.storage"] = amount
        used[f"{prefix}/persistentvolumeclaims"] = Decimal(1)
    return used


def _service_usage(spec: Obj) -> dict[str, Quantity]:
    ports = Decimal(len(spec.get("ports") or ()))
    match spec.get("type"):
        case "NodePort":
            return {"services.nodeports": ports}
        case "LoadBalancer":
            return {"services.nodeports": ports, "services.loadbalancers": Decimal(1)}
        case _:
            return {}


def _in_scope(quota: Obj, storage: str, obj: Obj) -> bool:
    scopes = (quota.get("spec") or {}).get("scopes") or ()
    if not scopes:
        return True
    if storage != "/pods":
        return False
    spec = obj.get("spec") or {}
    terminating = spec.get("activeDeadlineSeconds") is not None
    best_effort = not (pod_total(spec, "requests") or pod_total(spec, "limits"))
    facts = {
        "Terminating": terminating,
        "NotTerminating": not terminating,
        "BestEffort": best_effort,
        "NotBestEffort": not best_effort,
    }
    return all(facts.get(scope, True) for scope in scopes)


def _require_stated(storage: str, quota: Obj, limits: Usage, new: Obj, old: Obj | None) -> None:
    """A quota on cpu or memory obliges every container to say how much it wants."""
    if storage != "/pods" or old is not None:
        return
    for name in sorted(limits):
        kind, _, what = name.rpartition(".")
        if what not in _PLAIN_REQUESTS or kind not in ("", "requests", "limits"):
            continue
        silent = [
            container.get("name", "")
            for container in (new.get("spec") or {}).get("containers") or ()
            if what not in _amounts(container, kind or "requests")
        ]
        if silent:
            why = (
                f"failed quota: {quota['metadata']['name']}: must specify {name} for: "
                + ",".join(silent)
            )
            raise Forbidden.of("", "pods", new["metadata"].get("name", ""), why)


def _binary(name: str) -> bool:
    return "memory" in name or "storage" in name
