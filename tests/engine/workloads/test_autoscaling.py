"""Autoscalers: bounds at once, growth and shrinkage by load."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from tests.engine.workloads.cluster import Cluster, workload
from tests.support.extension import API_SERVICES, extension_server

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


def goal(kind: str, value: str, type_: str = "AverageValue", **extra: Any) -> Obj:
    field = {"AverageValue": "averageValue", "Value": "value"}[type_]
    body = {"metric": {"name": "queue"}, "target": {"type": type_, field: value}, **extra}
    return {"type": kind, kind.lower(): body}


@contextlib.asynccontextmanager
async def exposing(text: str) -> AsyncIterator[int]:
    """Metrics as a pod exposes them; yields the port."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text)

    app = web.Application()
    app.router.add_get("/stats", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def exposed(port: int) -> Obj:
    found = workload("Deployment", replicas=1)
    found["spec"]["template"]["metadata"]["annotations"] = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port),
        "prometheus.io/path": "/stats",
    }
    return found


async def test_what_pods_expose_makes_their_number(cluster: Cluster) -> None:
    async with exposing('queue{kind="a"} 20\nqueue{kind="b"} 11\n') as port:
        cluster.node.address = "127.0.0.1"
        await cluster.client.create(DEPLOYMENTS, exposed(port))
        await cluster.until(
            DEPLOYMENTS, "web", lambda d: d.get("status", {}).get("readyReplicas") == 1
        )
        scaler = autoscaler("Deployment", "apps/v1", metrics=[goal("Pods", "10")])
        await cluster.client.create(HORIZONTAL_POD_AUTOSCALERS, scaler)
        await cluster.until(DEPLOYMENTS, "web", lambda d: d["spec"]["replicas"] == 4)
        found = await cluster.until(
            HORIZONTAL_POD_AUTOSCALERS,
            "hpa",
            lambda h: told(h, "ScalingActive") is not None,
        )
        active = condition(found, "ScalingActive")
        assert active is not None
        assert active.message.endswith("calculate a replica count from pods metric queue")
        (metric,) = found["status"]["currentMetrics"]
        assert metric["pods"]["current"] == {"averageValue": "31"}


async def test_a_metric_of_an_object_is_that_of_its_pods_together(cluster: Cluster) -> None:
    async with exposing('queue{kind="a"} 20\nqueue{kind="b"} 11\n') as port:
        cluster.node.address = "127.0.0.1"
        await cluster.client.create(DEPLOYMENTS, exposed(port))
        await cluster.until(
            DEPLOYMENTS, "web", lambda d: d.get("status", {}).get("readyReplicas") == 1
        )
        described = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        metric = goal("Object", "10", "Value", describedObject=described)
        metric["object"]["metric"]["selector"] = {"matchLabels": {"kind": "a"}}
        scaler = autoscaler("Deployment", "apps/v1", metrics=[metric])
        await cluster.client.create(HORIZONTAL_POD_AUTOSCALERS, scaler)
        await cluster.until(DEPLOYMENTS, "web", lambda d: d["spec"]["replicas"] == 2)
        found = await cluster.until(
            HORIZONTAL_POD_AUTOSCALERS, "hpa", lambda h: "currentMetrics" in h["status"]
        )
        assert found["status"]["currentMetrics"][0]["object"]["current"] == {"value": "20"}


async def test_an_adapter_behind_an_apiservice_makes_external_metrics(cluster: Cluster) -> None:
    values: list[str] = ["0"]

    async def queue(request: web.Request) -> web.Response:
        assert request.query["labelSelector"] == "name=jobs"
        stamp = "2026-01-01T00:00:00Z"
        items = [{"metricName": "queue", "timestamp": stamp, "value": v} for v in values]
        return web.json_response({"kind": "ExternalMetricValueList", "items": items})

    group, routes = "external.metrics.k8s.io", {"/namespaces/{namespace}/queue": queue}
    async with extension_server(cluster.client, group, "v1beta1", [], routes) as server:
        await server.publish(cluster.client)
        await cluster.client.create(API_SERVICES, server.api_service())
        await cluster.until(API_SERVICES, server.title, lambda s: told(s, "Available") == "Passed")
        await cluster.client.create(DEPLOYMENTS, workload("Deployment", replicas=1))
        metric = goal("External", "30")
        metric["external"]["metric"]["selector"] = {"matchLabels": {"name": "jobs"}}
        rules = {"stabilizationWindowSeconds": 0}
        scaler = autoscaler(
            "Deployment", "apps/v1", metrics=[metric], minReplicas=0, behavior={"scaleDown": rules}
        )
        await cluster.client.create(HORIZONTAL_POD_AUTOSCALERS, scaler)
        await cluster.until(DEPLOYMENTS, "web", lambda d: d["spec"]["replicas"] == 0)
        await cluster.until(
            HORIZONTAL_POD_AUTOSCALERS, "hpa", lambda h: told(h, "ScaledToZero") == "ScaledToZero"
        )
        values[:] = ["60", "31"]
        # A changed spec is looked at before its time.
        change = {"spec": {"maxReplicas": 9}}
        await cluster.client.patch(HORIZONTAL_POD_AUTOSCALERS, "hpa", change, "default")
        await cluster.until(DEPLOYMENTS, "web", lambda d: d["spec"]["replicas"] == 4)
