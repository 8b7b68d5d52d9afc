"""Rules of what a cluster is run by: limits, priorities, leases."""

from __future__ import annotations

from typing import Any, Final

from kubeling.apiserver.podpriority import SYSTEM_PRIORITIES
from kubeling.apiserver.validation.rules import (
    Checks,
    Errors,
    at_least,
    choice,
    dns_label,
    frozen,
    quantities,
    required,
    spec_of,
)
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import parse_quantity
from kubeling.kube.quotas import COUNTED, POD_SCOPES, scopes_of

__all__ = ["CLUSTER_RULES"]

_HIGHEST: Final = 10**9
_QUOTA_NAMES: Final = COUNTED | {
    "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory",
    "requests.ephemeral-storage", "requests.storage", "limits.cpu", "limits.memory",
    "limits.ephemeral-storage", "services.nodeports", "services.loadbalancers",
}  # fmt: skip
_LIMIT_FIELDS: Final = ("max", "min", "default", "defaultRequest")


def _quota(new: Obj, old: Obj | None) -> Errors:
    spec = spec_of(new)
    hard = spec.get("hard") or {}
    yield from quantities(hard, "spec.hard")
    for name, value in hard.items():
        yield from _quota_entry(name, value)
    scopes = [scope["scopeName"] for scope in scopes_of(new)]
    yield from _scopes(scopes, hard)
    if old is not None:
        yield from frozen(spec, spec_of(old), "spec", "scopes", "scopeSelector")


def _quota_entry(name: str, value: Any) -> Errors:
    where = f"spec.hard[{name}]"
    kind, _, what = name.partition(".")
    known = (
        name in _QUOTA_NAMES
        or name.startswith(("count/", "hugepages-", "requests.hugepages-"))
        or ".storageclass.storage.k8s.io/" in name
        or (kind == "requests" and "/" in what)
    )
    if not known:
        message = "must be a standard resource for quota"
        yield FieldError(where, "Invalid value", message, name)
    if (name in COUNTED or name.startswith("count/")) and parse_quantity(value) % 1:
        yield FieldError(where, "Invalid value", "must be an integer", value)


def _scopes(scopes: list[str], hard: Obj) -> Errors:
    for scope in scopes:
        if scope not in POD_SCOPES and scope != "VolumeAttributesClass":
            yield FieldError("spec.scopes", "Invalid value", "unsupported scope", scopes)
    for pair in (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")):
        if set(pair) <= set(scopes):
            yield FieldError("spec.scopes", "Invalid value", "conflicting scopes", scopes)
    if "BestEffort" in scopes and any(name not in ("pods", "count/pods") for name in hard):
        message = "unsupported scope applied to resource"
        yield FieldError("spec.scopes", "Invalid value", message, scopes)


def _limit_range(new: Obj, old: Obj | None) -> Errors:
    for index, limit in enumerate(spec_of(new).get("limits") or ()):
        path = f"spec.limits[{index}]"
        yield from required(limit, path, "type")
        for field in _LIMIT_FIELDS:
            yield from quantities(limit.get(field) or {}, f"{path}.{field}")
        yield from _ordered(limit, path, "min", "max")
        yield from _ordered(limit, path, "default", "max")
        yield from _ordered(limit, path, "defaultRequest", "default")


def _ordered(limit: Obj, path: str, less: str, more: str) -> Errors:
    bounds = limit.get(more) or {}
    for name, value in (limit.get(less) or {}).items():
        if name in bounds and parse_quantity(value) > parse_quantity(bounds[name]):
            message = f"{less} value {value} is greater than {more} value {bounds[name]}"
            yield FieldError(f"{path}.{less}[{name}]", "Invalid value", message, value)


def _priority_class(new: Obj, old: Obj | None) -> Errors:
    value = new.get("value", 0)
    name = (new.get("metadata") or {}).get("name", "")
    if name.startswith("system-"):
        if old is None and SYSTEM_PRIORITIES.get(name) != value:
            message = (
                "priority class names with 'system-' prefix are reserved for system use only. "
                f"error: {name} is not a known system priority class"
            )
            yield FieldError("metadata.name", "Forbidden", message)
    elif value > _HIGHEST:
        message = f"maximum allowed value of a user defined priority is {_HIGHEST}"
        yield FieldError("value", "Forbidden", message)
    yield from choice(new, "", "preemptionPolicy", ("Never", "PreemptLowerPriority"))
    if old is not None:
        for field in ("value", "preemptionPolicy"):
            if new.get(field) != old.get(field):
                yield FieldError(field, "Forbidden", "may not be changed in an update.")


def _lease(new: Obj, old: Obj | None) -> Errors:
    spec = spec_of(new)
    if spec.get("leaseDurationSeconds", 1) <= 0:
        message = "must be greater than 0"
        value = spec["leaseDurationSeconds"]
        yield FieldError("spec.leaseDurationSeconds", "Invalid value", message, value)
    yield from at_least(spec, "spec", "leaseTransitions")


def _runtime_class(new: Obj, old: Obj | None) -> Errors:
    yield from dns_label(new.get("handler", ""), "handler")
    if old is not None and new.get("handler") != old.get("handler"):
        yield FieldError("handler", "Invalid value", "field is immutable", new.get("handler"))


CLUSTER_RULES: Final[Checks] = {
    ("", "ResourceQuota"): _quota,
    ("", "LimitRange"): _limit_range,
    ("scheduling.k8s.io", "PriorityClass"): _priority_class,
    ("coordination.k8s.io", "Lease"): _lease,
    ("node.k8s.io", "RuntimeClass"): _runtime_class,
}
