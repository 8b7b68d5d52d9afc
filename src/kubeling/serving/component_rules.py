"""What is refused in the part of a spec that predictors, transformers and explainers share.

Upstream: ``ComponentExtensionSpec.Validate`` and the checks of autoscaling beside it. One is not
followed: upstream refuses a memory target above 100 although it counts mebibytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj, mapping, mappings
from kubeling.serving.in_front_rules import validate_in_front
from kubeling.serving.names import AUTOSCALER_CLASS, is_knative

__all__ = ["validate_component", "validate_env"]

_REQUEST_METRICS: Final = ("concurrency", "rps")
_RESOURCE_METRICS: Final = ("cpu", "memory")
_WITH_DEFAULT: Final = ("cpu", "Utilization")
_TARGETS: Final = {
    "Utilization": "averageUtilization",
    "AverageValue": "averageValue",
    "Value": "value",
}


def validate_component(
    path: str, component: Obj, annotations: Mapping[str, str]
) -> Iterator[FieldError]:
    """Names what is wrong with one component."""
    yield from _validate_numbers(path, component)
    yield from _validate_scaling(path, component, annotations)
    yield from _validate_auto_scaling(f"{path}.autoScaling", component)
    yield from validate_in_front(path, component)
    yield from _validate_containers(path, component)


def _validate_numbers(path: str, component: Obj) -> Iterator[FieldError]:
    for field in ("minReplicas", "maxReplicas", "containerConcurrency"):
        value = component.get(field)
        if isinstance(value, int) and value < 0:
            yield FieldError(f"{path}.{field}", "Invalid value", "may not be negative", value)
    low, high = component.get("minReplicas"), component.get("maxReplicas")
    if isinstance(low, int) and isinstance(high, int) and 0 < high < low:
        message = f"may not be less than minReplicas ({low})"
        yield FieldError(f"{path}.maxReplicas", "Invalid value", message, high)
    percent = component.get("canaryTrafficPercent")
    if isinstance(percent, int) and not 0 <= percent <= 100:
        yield FieldError(
            f"{path}.canaryTrafficPercent", "Invalid value", "must be between 0 and 100", percent
        )
    timeout = component.get("timeout")
    if isinstance(timeout, int) and timeout <= 0:
        yield FieldError(f"{path}.timeout", "Invalid value", "must be at least 1 second", timeout)


def _validate_scaling(
    path: str, component: Obj, annotations: Mapping[str, str]
) -> Iterator[FieldError]:
    metric, target = component.get("scaleMetric"), component.get("scaleTarget")
    by_resource = annotations.get(AUTOSCALER_CLASS) == "hpa"
    if component.get("scaleMetricType") == "Value":
        message = "supported: Utilization, AverageValue (what is measured is each pod's)"
        yield FieldError(f"{path}.scaleMetricType", "Unsupported value", message, "Value")
    if by_resource and metric in _REQUEST_METRICS:
        yield FieldError(
            f"{path}.scaleMetric",
            "Unsupported value",
            f"the autoscaler class hpa knows {', '.join(_RESOURCE_METRICS)}; for {metric} leave "
            f"the annotation {AUTOSCALER_CLASS} out",
            metric,
        )
    elif is_knative(annotations) and metric in _RESOURCE_METRICS and not by_resource:
        yield FieldError(
            f"{path}.scaleMetric",
            "Unsupported value",
            f"the deployment mode Knative knows {', '.join(_REQUEST_METRICS)}; for {metric} use "
            "the mode Standard",
            metric,
        )
    if isinstance(target, int) and target < 1:
        yield FieldError(f"{path}.scaleTarget", "Invalid value", "must be at least 1", target)
    elif isinstance(target, int) and target > 100 and _is_cpu(component, by_resource):
        yield FieldError(
            f"{path}.scaleTarget",
            "Invalid value",
            "is a percentage of the CPU requested: between 1 and 100",
            target,
        )
    if is_knative(annotations) and component.get("deploymentStrategy"):
        yield FieldError(
            f"{path}.deploymentStrategy", "Forbidden", "is for the deployment mode Standard only"
        )


def _is_cpu(component: Obj, by_resource: bool) -> bool:
    if component.get("scaleMetricType") == "AverageValue":
        return False
    metric = component.get("scaleMetric")
    return metric == "cpu" or (metric is None and by_resource)


def _validate_auto_scaling(path: str, component: Obj) -> Iterator[FieldError]:
    for index, metric in enumerate(mappings(mapping(component.get("autoScaling")).get("metrics"))):
        where = f"{path}.metrics[{index}]"
        if metric.get("type") != "Resource":
            yield FieldError(
                f"{where}.type",
                "Unsupported value",
                "supported: Resource (External and PodMetric need KEDA, which is not here)",
                metric.get("type"),
            )
            continue
        yield from _validate_resource_metric(f"{where}.resource", mapping(metric.get("resource")))


def _validate_resource_metric(path: str, resource: Obj) -> Iterator[FieldError]:
    if resource.get("name") not in _RESOURCE_METRICS:
        yield FieldError(
            f"{path}.name",
            "Unsupported value",
            f"supported: {', '.join(_RESOURCE_METRICS)}",
            resource.get("name"),
        )
    target = mapping(resource.get("target"))
    kind = str(target.get("type") or "")
    if kind not in _TARGETS:
        yield FieldError(
            f"{path}.target.type", "Unsupported value", f"supported: {', '.join(_TARGETS)}", kind
        )
    elif target.get(_TARGETS[kind]) is None and (resource.get("name"), kind) != _WITH_DEFAULT:
        yield FieldError(f"{path}.target.{_TARGETS[kind]}", "Required value", f"type is {kind}")
    percent = target.get("averageUtilization")
    if kind == "Utilization" and isinstance(percent, int) and not 1 <= percent <= 100:
        yield FieldError(
            f"{path}.target.averageUtilization", "Invalid value", "must be 1 to 100", percent
        )


def _validate_containers(path: str, component: Obj) -> Iterator[FieldError]:
    containers = mappings(component.get("containers"))
    for index, container in enumerate(containers):
        where = f"{path}.containers[{index}]"
        if not container.get("name") and (component.get("model") or len(containers) > 1):
            yield FieldError(f"{where}.name", "Required value", "it is not alone in its pod")
        if not container.get("image") and not component.get("model"):
            yield FieldError(f"{where}.image", "Required value", "name the image to run")
        yield from validate_env(where, container)
    for index, container in enumerate(mappings(component.get("initContainers"))):
        yield from validate_env(f"{path}.initContainers[{index}]", container)
    for field in ("model", "art"):
        yield from validate_env(f"{path}.{field}", mapping(component.get(field)))


def validate_env(path: str, container: Obj) -> Iterator[FieldError]:
    """Names the variables that a container may not have."""
    for number, variable in enumerate(mappings(container.get("env"))):
        if variable.get("name") == "PYTHONPATH":
            yield FieldError(
                f"{path}.env[{number}].name",
                "Forbidden",
                "PYTHONPATH would hide the server's own modules; install packages instead",
            )
