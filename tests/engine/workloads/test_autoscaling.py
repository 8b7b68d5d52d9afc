"""Autoscalers: bounds at once, growth and shrinkage by load."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.workloads.cluster import Cluster, workload

from kubeling.engine.workloads.pod_use import MetricUnavailable, read_metric
from kubeling.engine.workloads.scaling import (
    Change,
    History,
    clamp,
    desired_by_ratio,
    limit_rate,
    stabilized,
)
from kubeling.kube.crd import Scale, crd
from kubeling.kube.objects import Obj, condition, new_object
from kubeling.kube.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    Resource,
)

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
MODELS = Resource("example.com", "v1", "Model", "models")
CPU = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
}


def autoscaler(kind: str, api_version: str, title: str = "web", **spec: Any) -> Obj:
    target = {"apiVersion": api_version, "kind": kind, "name": title}
    content = {"scaleTargetRef": target, "maxReplicas": 10, **spec}
    return new_object(HORIZONTAL_POD_AUTOSCALERS, "hpa", "default", spec=content)


async def test_the_minimum_holds_at_once_and_without_metrics(cluster: Cluster) -> None:
    await cluster.client.create(DEPLOYMENTS, workload("Deployment", replicas=1))
    await cluster.client.create(
        HORIZONTAL_POD_AUTOSCALERS, autoscaler("Deployment", "apps/v1", minReplicas=2)
    )
    await cluster.until(DEPLOYMENTS, "web", lambda d: d["spec"]["replicas"] == 2)
    found = await cluster.until(
        HORIZONTAL_POD_AUTOSCALERS, "hpa", lambda h: condition(h, "ScalingActive") is not None
    )
    able, active = condition(found, "AbleToScale"), condition(found, "ScalingActive")
    assert able is not None
    assert able.status == "True"
    assert active is not None
    assert (active.status, active.reason) == ("False", "FailedGetResourceMetric")


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
    assert "no kind Model is served in example.com/v9" in able.message


@pytest.mark.parametrize(
    ("current", "uses", "missing", "desired"),
    [
        (2, [0.5, 0.5], 0, 2),
        (2, [1.0, 1.0], 0, 4),
        (4, [0.1, 0.1, 0.1, 0.1], 0, 1),
        (2, [0.52, 0.52], 0, 2),
        (2, [2.0], 1, 4),
        (2, [0.1], 1, 2),
        (3, [], 3, 3),
    ],
)
def test_replicas_follow_the_ratio_of_use_to_target(
    current: int, uses: list[float], missing: int, desired: int
) -> None:
    assert desired_by_ratio(current, uses, 0.5, missing, 1.0) == desired


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 30), st.integers(0, 100))
def test_no_rate_takes_replicas_the_wrong_way(
    current: int, low: int, span: int, asked: int
) -> None:
    bounded, _ = clamp(asked, low, low + span)
    assert low <= bounded <= low + span
    limited, _ = limit_rate({}, current, bounded, [], NOW)
    assert min(current, bounded) <= limited <= max(current, bounded)


def test_growth_is_limited_per_period() -> None:
    assert limit_rate({}, 2, 50, [], NOW)[0] == 6
    assert limit_rate({}, 10, 50, [], NOW)[0] == 20
    just_grown = [Change(NOW - dt.timedelta(seconds=5), 4)]
    assert limit_rate({}, 6, 50, just_grown, NOW)[0] == 6
    long_ago = [Change(NOW - dt.timedelta(seconds=30), 4)]
    assert limit_rate({}, 6, 50, long_ago, NOW)[0] == 12


def test_behavior_may_forbid_a_direction() -> None:
    spec = {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}
    assert limit_rate(spec, 5, 1, [], NOW)[0] == 5


def test_shrinking_waits_until_it_has_been_wanted_for_the_whole_window() -> None:
    history = History()
    assert stabilized({}, 5, 5, history, NOW) == 5
    assert stabilized({}, 5, 2, history, NOW + dt.timedelta(seconds=60)) == 5
    assert stabilized({}, 5, 2, history, NOW + dt.timedelta(seconds=301)) == 2


def pod(title: str, request: str = "1", *, ready: bool = True) -> Obj:
    resources = {"requests": {"cpu": request}} if request else {}
    return {
        "metadata": {"name": title},
        "spec": {"containers": [{"name": "main", "resources": resources}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def usage(**cores: str) -> dict[str, Obj]:
    return {
        title: {"containers": [{"name": "main", "usage": {"cpu": value}}]}
        for title, value in cores.items()
    }


def test_utilization_is_use_over_requests() -> None:
    reading = read_metric(CPU, [pod("a"), pod("b")], usage(a="1", b="500m"), 2)
    assert reading.current["resource"]["current"] == {
        "averageValue": "750m",
        "averageUtilization": 75,
    }
    assert reading.desired == 3


def test_pods_without_requests_have_no_utilization() -> None:
    with pytest.raises(MetricUnavailable, match=r"set resources\.requests\.cpu"):
        read_metric(CPU, [pod("a", "")], usage(a="1"), 1)


def test_other_metrics_say_that_they_are_not_available() -> None:
    with pytest.raises(MetricUnavailable, match="External"):
        read_metric({"type": "External", "external": {}}, [], {}, 1)
