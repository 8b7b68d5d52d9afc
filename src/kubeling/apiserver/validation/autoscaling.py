"""Rules of HorizontalPodAutoscalers: bounds, targets, metrics and their behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubeling.apiserver.validation.rules import (
    Checks,
    Errors,
    at_least,
    choice,
    required,
    selector,
    spec_of,
)
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj
from kubeling.kube.quantities import parse_quantity

__all__ = ["AUTOSCALING_RULES"]

_LONGEST_PERIOD: Final = 1800
_LONGEST_WINDOW: Final = 3600
_SOURCES: Final = {
    "Object": "object",
    "External": "external",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}
_RAW: Final = "must set either a target raw value or a target utilization"
_BOTH: Final = "may not set both a target raw value and a target utilization"
_PRESENT: Final[Mapping[str, tuple[tuple[str, ...], str, str]]] = {
    "object": (("value", "averageValue"), "averageValue",
               "must set either a target value or averageValue"),
    "external": (("value", "averageValue"), "averageValue",
                 "must set either a target value for metric or a per-pod target"),
    "pods": (("averageValue",), "averageValue", "must specify a positive target averageValue"),
    "resource": (("averageUtilization", "averageValue"), "averageUtilization", _RAW),
    "containerResource": (("averageUtilization", "averageValue"), "averageUtilization", _RAW),
}  # fmt: skip
"""Of each source: the targets of which one must be there, the one to name, and the words."""
_ALONE: Final[Mapping[str, tuple[tuple[str, str], str, str]]] = {
    "external": (("value", "averageValue"), "value",
                 "may not set both a target value for metric and a per-pod target"),
    "resource": (("averageUtilization", "averageValue"), "averageValue", _BOTH),
    "containerResource": (("averageUtilization", "averageValue"), "averageValue", _BOTH),
}  # fmt: skip
"""The targets that exclude each other, the one to name, and the words."""


def _autoscaler(new: Obj, old: Obj | None) -> Errors:
    spec = spec_of(new)
    low, high = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    yield from at_least(spec, "spec", "minReplicas", least=0)
    if high == 0:
        yield FieldError("spec.maxReplicas", "Required value", "must be set and greater than 0")
    else:
        yield from at_least(spec, "spec", "maxReplicas", least=1)
    if high < low:
        message = "must be greater than or equal to `minReplicas`"
        yield FieldError("spec.maxReplicas", "Invalid value", message, high)
    yield from required(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef", "kind", "name")
    metrics = spec.get("metrics") or ()
    for index, metric in enumerate(metrics):
        yield from _metric(metric, f"spec.metrics[{index}]")
    if low == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        message = (
            "must specify at least one Object or External metric to support scaling to zero "
            "replicas"
        )
        yield FieldError("spec.metrics", "Forbidden", message)
    for direction, rules in (spec.get("behavior") or {}).items():
        yield from _rules(rules, f"spec.behavior.{direction}")


def _metric(metric: Obj, path: str) -> Errors:
    kind = metric.get("type")
    if not kind:
        yield FieldError(f"{path}.type", "Required value", "must specify a metric source type")
    yield from choice(metric, path, "type", tuple(_SOURCES))
    expected = _SOURCES.get(kind or "")
    present = [source for source in _SOURCES.values() if metric.get(source) is not None]
    if present:
        yield from _source(present[0], metric[present[0]], f"{path}.{present[0]}")
    if expected and expected not in present:
        message = "must populate information for the given metric source"
        yield FieldError(f"{path}.{expected}", "Required value", message)
    for other in present if len(present) > 1 else ():
        if other != expected:
            message = "must populate the given metric source only"
            yield FieldError(f"{path}.{other}", "Forbidden", message)


def _source(kind: str, source: Obj, path: str) -> Errors:
    if kind == "object":
        described = source.get("describedObject") or {}
        yield from required(described, f"{path}.describedObject", "kind", "name")
    if kind in ("resource", "containerResource"):
        if not source.get("name"):
            yield FieldError(f"{path}.name", "Required value", "must specify a resource name")
    else:
        yield from _identifier(source.get("metric") or {}, f"{path}.metric")
    if kind == "containerResource" and not source.get("container"):
        yield FieldError(f"{path}.container", "Required value", "must specify a container")
    yield from _target(kind, source.get("target") or {}, f"{path}.target")


def _identifier(metric: Obj, path: str) -> Errors:
    if not metric.get("name"):
        yield FieldError(f"{path}.name", "Required value", "must specify a metric name")
    yield from selector(metric.get("selector") or {}, f"{path}.selector")


def _target(kind: str, target: Obj, path: str) -> Errors:
    if not target.get("type"):
        yield FieldError(f"{path}.type", "Required value", "must specify a metric target type")
    yield from choice(target, path, "type", ("Utilization", "Value", "AverageValue"))
    for field in ("value", "averageValue"):
        if (value := target.get(field)) is not None and parse_quantity(value) <= 0:
            yield FieldError(f"{path}.{field}", "Invalid value", "must be positive", value)
    percent = target.get("averageUtilization")
    if percent is not None and percent < 1:
        message = "must be greater than 0"
        yield FieldError(f"{path}.averageUtilization", "Invalid value", message, percent)
    fields, named, words = _PRESENT[kind]
    if all(target.get(field) is None for field in fields):
        yield FieldError(f"{path}.{named}", "Required value", words)
    if kind in _ALONE:
        pair, named, words = _ALONE[kind]
        if all(target.get(field) is not None for field in pair):
            yield FieldError(f"{path}.{named}", "Forbidden", words)


def _rules(rules: Obj, path: str) -> Errors:
    yield from _number(rules, path, "stabilizationWindowSeconds", 0, _LONGEST_WINDOW)
    yield from choice(rules, path, "selectPolicy", ("Max", "Min", "Disabled"))
    if not rules.get("policies"):
        yield FieldError(f"{path}.policies", "Required value", "must specify at least one Policy")
    for index, policy in enumerate(rules.get("policies") or ()):
        where = f"{path}.policies[{index}]"
        yield from choice(policy, where, "type", ("Pods", "Percent"))
        yield from _number(policy, where, "value", 1, None)
        yield from _number(policy, where, "periodSeconds", 1, _LONGEST_PERIOD)
    tolerance = rules.get("tolerance")
    if tolerance is not None and parse_quantity(tolerance) < 0:
        message = "must be greater than or equal to 0"
        yield FieldError(f"{path}.tolerance", "Invalid value", message, tolerance)


def _number(place: Obj, path: str, field: str, least: int, most: int | None) -> Errors:
    value: Any = place.get(field)
    if value is None:
        return
    message = ""
    if value < least:
        message = "must be greater than zero" if least else "must be greater than or equal to zero"
    elif most is not None and value > most:
        message = f"must be less than or equal to {most}"
    if message:
        yield FieldError(f"{path}.{field}", "Invalid value", message, value)


AUTOSCALING_RULES: Final[Checks] = {("autoscaling", "HorizontalPodAutoscaler"): _autoscaler}
