"""The fields of ``autoScaling``, as upstream spells them; the rules say which of them work here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from kubeling.kube.crd import IntOrString, Ref

__all__ = ["AutoScaling", "DeploymentStrategy"]

DeploymentStrategy = Annotated[dict[str, Any], Ref("io.k8s.api.apps.v1.DeploymentStrategy")]
_Behavior = Annotated[
    dict[str, Any], Ref("io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerBehavior")
]


class MetricTarget(msgspec.Struct, rename="camel", omit_defaults=True):
    """The measure to aim at."""

    type: Literal["Utilization", "Value", "AverageValue"] | None = None
    value: IntOrString | None = None
    average_value: IntOrString | None = None
    average_utilization: int | None = None


class ResourceMetric(msgspec.Struct, rename="camel", omit_defaults=True):
    """CPU or memory."""

    name: Literal["cpu", "memory"]
    target: MetricTarget


class ExternalMetric(msgspec.Struct, rename="camel", omit_defaults=True):
    """A query to a monitoring system."""

    backend: Literal["prometheus", "graphite"] | None = None
    server_address: str | None = None
    query: str | None = None
    namespace: str | None = None


class SecretName(msgspec.Struct, rename="camel", omit_defaults=True):
    """A KEDA TriggerAuthentication."""

    name: str


class Authentication(msgspec.Struct, rename="camel", omit_defaults=True):
    """How a monitoring system knows who asks."""

    authentication_ref: SecretName
    auth_modes: str | None = None


class ExternalSource(msgspec.Struct, rename="camel", omit_defaults=True):
    """A metric from a monitoring system."""

    metric: ExternalMetric
    target: MetricTarget
    authentication_ref: Authentication | None = None


class PodMetric(msgspec.Struct, rename="camel", omit_defaults=True):
    """A metric that pods report."""

    backend: Literal["opentelemetry"] | None = None
    server_address: str | None = None
    metric_names: list[str] | None = None
    query: str | None = None
    operation_over_time: str | None = None


class PodSource(msgspec.Struct, rename="camel", omit_defaults=True):
    """A metric that pods report, and its target."""

    metric: PodMetric
    target: MetricTarget


class Metric(msgspec.Struct, rename="camel", omit_defaults=True):
    """One thing to scale by."""

    type: Literal["Resource", "External", "PodMetric"]
    resource: ResourceMetric | None = None
    external: ExternalSource | None = None
    podmetric: PodSource | None = None


class AutoScaling(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a component is scaled by, and how fast."""

    metrics: list[Metric] | None = None
    behavior: _Behavior | None = None
