"""What pods use of a resource, against what an autoscaler wants them to use. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubeling.engine.workloads.podstate import is_ready, phase
from kubeling.engine.workloads.scaling import desired_by_ratio
from kubeling.kube.objects import Obj, deletion_requested, name
from kubeling.kube.quantities import format_quantity, parse_quantity

__all__ = ["MetricUnavailable", "Reading", "read_metric"]


class MetricUnavailable(Exception):
    """A metric cannot be read: ``reason`` is the condition's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Reading:
    """What one metric says: the replicas it asks for, and its current value for the status."""

    desired: int
    current: Obj


def read_metric(
    metric: Obj, pods: Sequence[Obj], usage: Mapping[str, Obj], replicas: int
) -> Reading:
    """Reads one entry of ``spec.metrics``; ``usage`` are PodMetrics by pod name."""
    kind = metric["type"]
    if kind not in ("Resource", "ContainerResource"):
        raise MetricUnavailable(
            f"FailedGet{kind}Metric",
            f"{kind} metrics are not available here: use Resource or ContainerResource",
        )
    body = metric["resource" if kind == "Resource" else "containerResource"]
    container = body.get("container", "")
    resource, target = body["name"], body["target"]
    counted = [p for p in pods if phase(p) == "Running" and not deletion_requested(p)]
    values = {
        name(pod): value
        for pod in counted
        if is_ready(pod) and (value := _used(usage.get(name(pod)), resource, container)) is not None
    }
    if not values:
        raise MetricUnavailable(
            "FailedGetResourceMetric",
            f"unable to get metrics for resource {resource}: no metrics returned from pods",
        )
    missing = len(counted) - len(values)
    average = sum(values.values()) / len(values)
    shown: Obj = {"averageValue": _shown(resource, average)}
    if "averageUtilization" in target:
        requests = [_requested(pod, resource, container) for pod in counted if name(pod) in values]
        asked = sum(requests) / len(requests)
        goal = asked * int(target["averageUtilization"]) / 100
        shown["averageUtilization"] = round(100 * average / asked)
    elif "averageValue" in target:
        goal = asked = float(parse_quantity(target["averageValue"]))
    else:
        raise MetricUnavailable(
            "InvalidMetricSourceType",
            f"metric {resource}: set target.averageUtilization or target.averageValue",
        )
    desired = desired_by_ratio(replicas, list(values.values()), goal, missing, asked)
    field = "resource" if kind == "Resource" else "containerResource"
    content: Obj = {"name": resource, "current": shown}
    if container:
        content["container"] = container
    return Reading(desired, {"type": kind, field: content})


def _used(metrics: Obj | None, resource: str, container: str) -> float | None:
    if metrics is None:
        return None
    found = [c for c in metrics.get("containers") or () if container in ("", c["name"])]
    if not found:
        return None
    return float(sum(parse_quantity(c["usage"].get(resource, "0")) for c in found))


def _requested(pod: Obj, resource: str, container: str) -> float:
    total = 0.0
    for spec in pod["spec"]["containers"]:
        if container not in ("", spec["name"]):
            continue
        resources = spec.get("resources") or {}
        value = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        if resource not in value:
            raise MetricUnavailable(
                "FailedGetResourceMetric",
                f"missing request for {resource} in container {spec['name']} of Pod {name(pod)}: "
                f"set resources.requests.{resource}",
            )
        total += float(parse_quantity(value[resource]))
    return total


def _shown(resource: str, value: float) -> str:
    if resource == "cpu":
        return f"{round(value * 1000)}m"
    return format_quantity(parse_quantity(round(value)), binary=True)
