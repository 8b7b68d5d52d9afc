"""What objects count for in a ResourceQuota. Pure.

Names are upstream's: ``pods``, ``requests.cpu``, ``count/jobs.batch`` and so on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from kubeling.engine.podspec import main_containers, pod_requests, qos_class
from kubeling.engine.workloads.podstate import is_finished
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import Quantity, format_quantity, parse_quantity
from kubeling.kube.resources import (
    CONFIG_MAPS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICES,
    Resource,
)

__all__ = ["counted_resource", "in_scope", "quota_status", "use_of"]

_BY_NAME: Final = {
    r.plural: r
    for r in (CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, PODS, RESOURCE_QUOTAS, SECRETS, SERVICES)
}
_PLAIN: Final = ("cpu", "memory", "ephemeral-storage")


def counted_resource(entry: str, known: Iterable[Resource]) -> Resource | None:
    """The resource whose objects an entry of ``spec.hard`` counts."""
    if entry.startswith("count/"):
        plural, _, group = entry.removeprefix("count/").partition(".")
        return next((r for r in known if (r.plural, r.group) == (plural, group)), None)
    if entry == "requests.storage" or ".storageclass.storage.k8s.io/" in entry:
        return PERSISTENT_VOLUME_CLAIMS
    if entry.startswith("services"):
        return SERVICES
    return _BY_NAME.get(entry, PODS)


def use_of(resource: Resource, obj: Obj) -> dict[str, Quantity]:
    """What one object adds, by quota entry."""
    used = {f"count/{resource.qualified}": Decimal(1)}
    if resource == PODS and is_finished(obj):
        return used
    if resource.plural in _BY_NAME and not resource.group:
        used[resource.plural] = Decimal(1)
    if resource == PODS:
        used |= _pod(obj)
    elif resource == PERSISTENT_VOLUME_CLAIMS:
        used |= _claim(obj["spec"])
    elif resource == SERVICES:
        used |= _service(obj["spec"])
    return used


def in_scope(quota: Obj, resource: Resource, obj: Obj) -> bool:
    """Whether the quota's scopes include the object."""
    scopes = quota["spec"].get("scopes") or ()
    if not scopes:
        return True
    if resource != PODS:
        return False
    terminating = obj["spec"].get("activeDeadlineSeconds") is not None
    best_effort = qos_class(obj) == "BestEffort"
    facts = {
        "Terminating": terminating,
        "NotTerminating": not terminating,
        "BestEffort": best_effort,
        "NotBestEffort": not best_effort,
    }
    return all(facts.get(scope, True) for scope in scopes)


def quota_status(quota: Obj, objects: Mapping[Resource, Iterable[Obj]]) -> Obj:
    """The status: the limits, and what the namespace's objects use of each."""
    hard: Mapping[str, str] = quota["spec"].get("hard") or {}
    total = dict.fromkeys(hard, Decimal(0))
    for resource, found in objects.items():
        for obj in found:
            if in_scope(quota, resource, obj):
                for entry, amount in use_of(resource, obj).items():
                    if entry in total:
                        total[entry] += amount
    used = {
        entry: format_quantity(amount, binary="memory" in entry or "storage" in entry)
        for entry, amount in total.items()
    }
    return {"hard": dict(hard), "used": used}


def _pod(pod: Obj) -> dict[str, Quantity]:
    used: dict[str, Quantity] = {}
    for name, amount in pod_requests(pod).items():
        used[f"requests.{name}"] = amount
        if name in _PLAIN:
            used[name] = amount
    for container in main_containers(pod):
        for name, value in ((container.get("resources") or {}).get("limits") or {}).items():
            entry = f"limits.{name}"
            used[entry] = used.get(entry, Decimal(0)) + parse_quantity(value)
    return used


def _claim(spec: Obj) -> dict[str, Quantity]:
    requests = (spec.get("resources") or {}).get("requests") or {}
    amount = parse_quantity(requests.get("storage", "0"))
    used = {"requests.storage": amount}
    if storage_class := spec.get("storageClassName"):
        prefix = f"{storage_class}.storageclass.storage.k8s.io"
        used[f"{prefix}/requests.storage"] = amount
        used[f"{prefix}/persistentvolumeclaims"] = Decimal(1)
    return used


def _service(spec: Obj) -> dict[str, Quantity]:
    ports = Decimal(len(spec.get("ports") or ()))
    match spec.get("type"):
        case "NodePort":
            return {"services.nodeports": ports}
        case "LoadBalancer":
            return {"services.nodeports": ports, "services.loadbalancers": Decimal(1)}
        case _:
            return {}
