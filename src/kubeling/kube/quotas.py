"""What objects count for in a ResourceQuota, and which objects it is about. Pure.

Whoever enforces quotas and whoever writes their status have to agree, so both count here. Names are
upstream's (``pkg/quota/v1/evaluator/core``): ``pods``, ``requests.cpu``, ``count/jobs.batch``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from kubeling.kube.objects import Obj
from kubeling.kube.podresources import is_best_effort, pod_total
from kubeling.kube.quantities import Quantity, format_quantity, parse_quantity

__all__ = [
    "COUNTED",
    "POD_SCOPES",
    "collection_of",
    "in_scope",
    "scopes_of",
    "shown",
    "unstated",
    "usage",
]

COUNTED: Final = frozenset(
    {
        "configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers",
        "resourcequotas", "secrets", "services",
    }
)  # fmt: skip
"""Kinds of the core group that count under their own names."""
POD_SCOPES: Final = frozenset(
    {
        "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass",
        "CrossNamespacePodAffinity",
    }
)  # fmt: skip

_PLAIN: Final = ("cpu", "memory", "ephemeral-storage")
_STATED: Final = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
_BY_CLASS: Final = ".storageclass.storage.k8s.io/"
_FINISHED: Final = ("Succeeded", "Failed")


def usage(group: str, plural: str, obj: Obj) -> dict[str, Quantity]:
    """What one object counts for, by the names in ``spec.hard``."""
    used = {f"count/{plural}.{group}" if group else f"count/{plural}": Decimal(1)}
    if group:
        return used
    spec = obj.get("spec") or {}
    match plural:
        case "pods":
            if (obj.get("status") or {}).get("phase") in _FINISHED:
                return used
            used |= _pod(spec)
        case "persistentvolumeclaims":
            used |= _claim(obj)
        case "services":
            used |= _service(spec)
        case _:
            pass
    if plural in COUNTED:
        used[plural] = Decimal(1)
    return used


def collection_of(name: str) -> tuple[str, str]:
    """Group and plural of the kind that an entry of ``spec.hard`` counts."""
    if name.startswith("count/"):
        plural, _, group = name.removeprefix("count/").partition(".")
        return group, plural
    if name == "requests.storage" or _BY_CLASS in name:
        return "", "persistentvolumeclaims"
    if name.startswith("services"):
        return "", "services"
    return "", name if name in COUNTED else "pods"


def scopes_of(quota: Obj) -> list[Mapping[str, Any]]:
    """All scopes of a quota, as selectors."""
    spec = quota.get("spec") or {}
    selectors = (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    plain = ({"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ())
    return [*plain, *selectors]


def in_scope(quota: Obj, group: str, plural: str, obj: Obj) -> bool:
    """Whether the quota is about the object."""
    scopes = scopes_of(quota)
    if not scopes:
        return True
    if group:
        return False
    spec = obj.get("spec") or {}
    if plural == "pods":
        return all(_pod_matches(scope, spec) for scope in scopes)
    if plural == "persistentvolumeclaims":
        chosen = spec.get("volumeAttributesClassName")
        return all(
            scope["scopeName"] == "VolumeAttributesClass" and _matches(scope, chosen)
            for scope in scopes
        )
    return False


def unstated(hard: Iterable[str], pod: Obj) -> dict[str, list[str]]:
    """The containers that do not say how much they want of what a quota limits, by resource."""
    spec = pod.get("spec") or {}
    if spec.get("resources"):
        return {}
    found: dict[str, list[str]] = {}
    for name in sorted(set(hard) & set(_STATED)):
        kind, _, what = name.rpartition(".")
        silent = sorted(
            container.get("name", "")
            for container in (*spec.get("containers", ()), *spec.get("initContainers", ()))
            if what not in _stated(container, kind or "requests")
        )
        if silent:
            found[name] = silent
    return found


def shown(name: str, amount: Quantity) -> str:
    """An amount as a quota's status and messages show it."""
    return format_quantity(amount, binary="memory" in name or "storage" in name)


def _stated(container: Mapping[str, Any], kind: str) -> set[str]:
    resources = container.get("resources") or {}
    found = set(resources.get(kind) or {})
    return found | set(resources.get("limits") or {}) if kind == "requests" else found


def _pod(spec: Obj) -> dict[str, Quantity]:
    used: dict[str, Quantity] = {}
    for name, amount in pod_total(spec, "requests").items():
        used[f"requests.{name}"] = amount
        if name in _PLAIN or name.startswith("hugepages-"):
            used[name] = amount
    used |= {f"limits.{name}": amount for name, amount in pod_total(spec, "limits").items()}
    return used


def _claim(claim: Obj) -> dict[str, Quantity]:
    spec, status = claim.get("spec") or {}, claim.get("status") or {}
    used: dict[str, Quantity] = {}
    asked = (spec.get("resources") or {}).get("requests") or {}
    storage_class = spec.get("storageClassName")
    if storage_class:
        used[f"{storage_class}{_BY_CLASS}persistentvolumeclaims"] = Decimal(1)
    if "storage" not in asked:
        return used
    given = (status.get("allocatedResources") or {}).get("storage", "0")
    amount = max(parse_quantity(asked["storage"]), parse_quantity(given))
    amount = amount.to_integral_value(ROUND_CEILING)
    used["requests.storage"] = amount
    if storage_class:
        used[f"{storage_class}{_BY_CLASS}requests.storage"] = amount
    return used


def _service(spec: Obj) -> dict[str, Quantity]:
    ports = spec.get("ports") or ()
    match spec.get("type"):
        case "NodePort":
            return {"services.nodeports": Decimal(len(ports))}
        case "LoadBalancer":
            if spec.get("allocateLoadBalancerNodePorts") is False:
                ports = [port for port in ports if port.get("nodePort")]
            nodeports = Decimal(len(ports))
            return {"services.nodeports": nodeports, "services.loadbalancers": Decimal(1)}
        case _:
            return {}


def _pod_matches(scope: Mapping[str, Any], spec: Obj) -> bool:
    match scope["scopeName"]:
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return is_best_effort(spec)
        case "NotBestEffort":
            return not is_best_effort(spec)
        case "PriorityClass":
            return _matches(scope, spec.get("priorityClassName"))
        case "CrossNamespacePodAffinity":
            return _looks_elsewhere(spec)
        case _:
            return False


def _matches(scope: Mapping[str, Any], value: str | None) -> bool:
    values = scope.get("values") or ()
    match scope["operator"]:
        case "Exists":
            return bool(value)
        case "DoesNotExist":
            return not value
        case "In":
            return value in values
        case _:
            return not value or value not in values


def _looks_elsewhere(spec: Obj) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        found = affinity.get(kind) or {}
        terms = [
            *(found.get("requiredDuringSchedulingIgnoredDuringExecution") or ()),
            *(
                weighted["podAffinityTerm"]
                for weighted in found.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
            ),
        ]
        if any(t.get("namespaces") or t.get("namespaceSelector") is not None for t in terms):
            return True
    return False
