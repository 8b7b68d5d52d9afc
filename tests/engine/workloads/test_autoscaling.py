"""Autoscalers: bounds at once, growth and shrinkage by load."""

from __future__ import annotations

from typing import Any

from tests.engine.workloads.cluster import Cluster, workload

from kubeling.kube.crd import Scale, crd
from kubeling.kube.objects import Obj, condition, new_object
from kubeling.kube.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    EVENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    Resource,
)

MODELS = Resource("example.com", "v1", "Model", "models")


def autoscaler(kind: str, api_version: str, title: str = "web", **spec: Any) -> Obj:
    target = {"apiVersion": api_version, "kind": kind, "name": title}
    content = {"scaleTargetRef": target, "maxReplicas": 10, **spec}
    return new_object(HORIZONTAL_POD_AUTOSCALERS, "hpa", "default", spec=content)


def told(obj: Obj, type_: str) -> str | None:
    """The reason of a condition."""
    found = condition(obj, type_)
    return found.reason if found else None


async def test_the_minimum_holds_at_once_and_without_metrics(cluster: Cluster) -> None:
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", replicas=1))
    await cluster.client.create(
        HORIZONTAL_POD_AUTOSCALERS, autoscaler("Deployment", "apps/v1", minReplicas=2)
    )
    await cluster.until(DEPLOYMENTS, "web", lambda d: d["spec"]["replicas"] == 2)
    await cluster.until(
        HORIZONTAL_POD_AUTOSCALERS, "hpa", lambda h: told(h, "AbleToScale") == "SucceededRescale"
    )
    reason = "New size: 2; reason: Current number of replicas below Spec.MinReplicas"
    await cluster.until_list(EVENTS, lambda events: any(e["message"] == reason for e in events))


async def test_metrics_that_cannot_be_read_are_told_in_upstreams_words(cluster: Cluster) -> None:
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", replicas=1))
    await cluster.client.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler("Deployment", "apps/v1"))
    found = await cluster.until(
        HORIZONTAL_POD_AUTOSCALERS, "hpa", lambda h: told(h, "ScalingActive") is not None
    )
    active = condition(found, "ScalingActive")
    assert active is not None
    assert (active.status, active.reason) == ("False", "FailedGetResourceMetric")
    assert active.message.startswith(
        "the HPA was unable to compute the replica count: failed to get cpu utilization: unable "
        "to get metrics for resource cpu: unable to fetch metrics from resource metrics API: "
    )
    assert found["status"]["currentMetrics"] == [{"type": ""}]
    said = "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource"
    events = await cluster.until_list(
        EVENTS, lambda found: any(e["message"].startswith(said) for e in found)
    )
    reasons = {event["reason"] for event in events}
    assert {"FailedGetResourceMetric", "FailedComputeMetricsReplicas"} <= reasons


async def test_a_target_that_somebody_set_to_zero_is_left_alone(cluster: Cluster) -> None:
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", replicas=0))
    await cluster.client.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler("Deployment", "apps/v1"))
    await cluster.until(
        HORIZONTAL_POD_AUTOSCALERS, "hpa", lambda h: told(h, "ScalingActive") == "ScalingDisabled"
    )
    assert (await cluster.client.get(DEPLOYMENTS, "web", "default"))["spec"]["replicas"] == 0


async def test_any_kind_with_a_scale_can_be_the_target(cluster: Cluster) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    scale = Scale(".spec.predictor.minReplicas", ".status.replicas", ".status.selector")
    await cluster.client.create(
        CUSTOM_RESOURCE_DEFINITIONS, crd(MODELS, schema, schema, scale=scale)
    )
    model = new_object(MODELS, "web", "default", spec={"predictor": {"minReplicas": 1}})
    await cluster.client.create(MODELS, model)
    await cluster.client.create(
        HORIZONTAL_POD_AUTOSCALERS, autoscaler("Model", "example.com/v1", minReplicas=2)
    )
    await cluster.until(MODELS, "web", lambda m: m["spec"]["predictor"]["minReplicas"] == 2)


async def test_a_target_that_is_missing_is_named(cluster: Cluster) -> None:
    await cluster.client.create(HORIZONTAL_POD_AUTOSCALERS, autoscaler("Model", "example.com/v9"))
    found = await cluster.until(
        HORIZONTAL_POD_AUTOSCALERS, "hpa", lambda h: condition(h, "AbleToScale") is not None
    )
    able = condition(found, "AbleToScale")
    assert able is not None
    assert able.status == "False"
    assert 'no matches for kind "Model" in group "example.com"' in able.message
