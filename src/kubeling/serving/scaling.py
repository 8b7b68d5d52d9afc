"""How many pods a component is to have: the fields and annotations of scaling as one policy.

Three ways, as upstream's modes have them together: by resources through a HorizontalPodAutoscaler;
by requests (concurrency, requests per second), as Knative's autoscaler counts them, from what the
inference gateway sees; and to zero, with ``minReplicas: 0``, by the gateway too. The defaults of
the second and third are Knative's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, Literal

from kubeling.kube import objects
from kubeling.kube.durations import parse_duration
from kubeling.kube.objects import Obj
from kubeling.serving.names import AUTOSCALER_CLASS, ComponentName, is_knative

__all__ = ["Metric", "ScalingPolicy", "policy_of", "resource_metrics"]

Metric = Literal["concurrency", "rps", "cpu", "memory"]
Scaler = Literal["gateway", "hpa", "others", "nobody"]

_KNATIVE: Final = "autoscaling.knative.dev/"
_DEFAULT_TARGETS: Final[Mapping[Metric, float]] = {
    "concurrency": 100.0,
    "rps": 200.0,
    "cpu": 80.0,
    "memory": 80.0,
}
_UTILIZATION: Final = 70.0
_WINDOW: Final = 60.0
_SHORTEST_WINDOW: Final = 1.0


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """What a component's number of pods follows; ``high`` 0 means no limit."""

    low: int
    high: int
    metric: Metric
    target: float
    by: Scaler
    window: float = _WINDOW
    retention: float = 0.0

    @property
    def rests(self) -> bool:
        """Whether the component goes without pods while nobody asks."""
        return self.low == 0 and self.by in ("gateway", "hpa")

    @property
    def needs_gateway(self) -> bool:
        """Whether only the inference gateway can tell how many pods are needed."""
        return self.by == "gateway" or self.rests

    @property
    def awake(self) -> int:
        """The fewest pods of a component that is not at rest."""
        return max(1, self.low)

    def within(self, replicas: int) -> int:
        """The number, held to the limits of a component that is awake."""
        return max(self.awake, min(replicas, self.high) if self.high else replicas)

    def without_gateway(self) -> ScalingPolicy:
        """What is left of the policy where no gateway takes part: always a pod, and resources."""
        if not self.needs_gateway:
            return self
        metric: Metric = "memory" if self.metric == "memory" else "cpu"
        target = self.target if metric == self.metric else _DEFAULT_TARGETS[metric]
        return ScalingPolicy(self.awake, self.high, metric, target, "hpa")


def policy_of(isvc: Obj, component: ComponentName) -> ScalingPolicy:
    """The policy of a component of a service."""
    content = isvc["spec"][component]
    found = {**objects.annotations(isvc), **(content.get("annotations") or {})}
    given = content.get("minReplicas")
    low = 1 if given is None else max(0, int(given))
    metric = _metric(content, found, low)
    high = int(content.get("maxReplicas") or 0)
    return ScalingPolicy(
        low=low,
        high=max(low, high) if high else 0,
        metric=metric,
        target=_target(content, found, metric),
        by=_who(found, metric),
        window=max(_SHORTEST_WINDOW, _seconds(found, "window", _WINDOW)),
        retention=_seconds(found, "scale-to-zero-pod-retention-period", 0.0),
    )


def _who(found: Mapping[str, str], metric: Metric) -> Scaler:
    if found.get(AUTOSCALER_CLASS) == "none":
        return "nobody"
    if found.get(AUTOSCALER_CLASS) == "external":
        return "others"
    return "gateway" if metric in ("concurrency", "rps") else "hpa"


def _metric(content: Obj, found: Mapping[str, str], low: int) -> Metric:
    named = content.get("scaleMetric") or found.get(f"{_KNATIVE}metric")
    for known in _DEFAULT_TARGETS:
        if named == known:
            return known
    by_resource = found.get(AUTOSCALER_CLASS) == "hpa" or bool(content.get("autoScaling"))
    return "cpu" if by_resource or (low > 0 and not is_knative(found)) else "concurrency"


def _target(content: Obj, found: Mapping[str, str], metric: Metric) -> float:
    """The measure per pod to aim at: for requests a share of what a pod may take, as Knative."""
    target = content.get("scaleTarget") or _number(found, "target")
    if metric in ("cpu", "memory"):
        return float(target or _number(found, "target-utilization-percentage") or 80.0)
    limit = int(content.get("containerConcurrency") or 0) if metric == "concurrency" else 0
    total = float(target or limit or _DEFAULT_TARGETS[metric])
    if limit:
        total = min(total, float(limit))
    share = _number(found, "target-utilization-percentage") or _UTILIZATION
    return max(1.0, total * share / 100.0)


def _number(found: Mapping[str, str], key: str) -> float:
    try:
        return max(0.0, float(found.get(_KNATIVE + key, 0)))
    except ValueError:
        return 0.0


def _seconds(found: Mapping[str, str], key: str, otherwise: float) -> float:
    try:
        return parse_duration(found[_KNATIVE + key])
    except (KeyError, ValueError):
        return otherwise


def resource_metrics(content: Obj, policy: ScalingPolicy) -> list[dict[str, Any]]:
    """The metrics of a HorizontalPodAutoscaler: ``autoScaling.metrics``, else the one metric."""
    given = (content.get("autoScaling") or {}).get("metrics")
    if given:
        return [{"type": "Resource", "resource": _aimed(metric["resource"])} for metric in given]
    target: Obj = {"type": "Utilization", "averageUtilization": ceil(policy.target)}
    if content.get("scaleMetricType") == "AverageValue":
        unit = "Mi" if policy.metric == "memory" else "m"
        target = {"type": "AverageValue", "averageValue": f"{ceil(policy.target)}{unit}"}
    return [{"type": "Resource", "resource": {"name": policy.metric, "target": target}}]


def _aimed(resource: Obj) -> Obj:
    """A metric with the utilization that upstream has for the CPU where none is said."""
    target = resource["target"]
    if resource["name"] != "cpu" or target.get("type") != "Utilization":
        return resource
    return {**resource, "target": {"averageUtilization": ceil(_DEFAULT_TARGETS["cpu"]), **target}}
