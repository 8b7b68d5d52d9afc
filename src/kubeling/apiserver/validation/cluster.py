"""Rules of what a cluster is run by: limits, priorities, leases."""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.podpriority import SYSTEM_PRIORITIES
from kubeling.apiserver.validation.rules import (
    Checks,
    Errors,
    at_least,
    choice,
    dns_label,
    quantities,
    required,
    spec_of,
)
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import parse_quantity

__all__ = ["CLUSTER_RULES"]

_HIGHEST: Final = 10**9
_LIMIT_FIELDS: Final = ("max", "min", "default", "defaultRequest")


def _quota(new: Obj, old: Obj | None) -> Errors:
    yield from quantities(spec_of(new).get("hard") or {}, "spec.hard")


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
