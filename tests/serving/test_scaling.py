"""How many pods a component gets: what the fields mean, and what requests ask for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.services import service

from kubeling.kube.objects import Obj
from kubeling.serving.demand import Demand
from kubeling.serving.scaling import ScalingPolicy, policy_of, resource_metrics

KNATIVE = "autoscaling.knative.dev"
MODEL = {"sklearn": {"storageUri": "gs://bucket/iris"}}


def policy(annotations: dict[str, str] | None = None, **fields: Any) -> ScalingPolicy:
    isvc = service(predictor={**MODEL, **fields})
    isvc["metadata"]["annotations"] = annotations or {}
    return policy_of(isvc, "predictor")


def by_requests(**fields: Any) -> ScalingPolicy:
    given = {"low": 0, "high": 0, "metric": "concurrency", "target": 10.0, "by": "gateway"}
    return ScalingPolicy(**{**given, **fields})


@pytest.mark.parametrize(
    ("fields", "annotations", "expected"),
    [
        ({}, {}, ("hpa", "cpu", 80.0)),
        ({"scaleMetric": "memory", "scaleTarget": 50}, {}, ("hpa", "memory", 50.0)),
        ({"minReplicas": 0}, {}, ("gateway", "concurrency", 70.0)),
        ({"minReplicas": 0, "containerConcurrency": 10}, {}, ("gateway", "concurrency", 7.0)),
        ({"scaleMetric": "rps", "scaleTarget": 10}, {}, ("gateway", "rps", 7.0)),
        ({}, {f"{KNATIVE}/metric": "rps"}, ("gateway", "rps", 140.0)),
        ({}, {"serving.kserve.io/deploymentMode": "Knative"}, ("gateway", "concurrency", 70.0)),
        (
            {"scaleMetric": "concurrency"},
            {f"{KNATIVE}/target": "20", f"{KNATIVE}/target-utilization-percentage": "100"},
            ("gateway", "concurrency", 20.0),
        ),
        ({}, {"serving.kserve.io/autoscalerClass": "none"}, ("nobody", "cpu", 80.0)),
        ({}, {"serving.kserve.io/autoscalerClass": "external"}, ("others", "cpu", 80.0)),
    ],
)
def test_who_scales_by_what(
    fields: Obj, annotations: dict[str, str], expected: tuple[str, str, float]
) -> None:
    found = policy(annotations, **fields)
    assert (found.by, found.metric, found.target) == expected


def test_only_no_minimum_lets_a_service_rest() -> None:
    assert policy(minReplicas=0).rests
    assert policy(minReplicas=0, scaleMetric="cpu").rests
    assert not policy(minReplicas=1, scaleMetric="rps").rests
    assert not policy({"serving.kserve.io/autoscalerClass": "none"}, minReplicas=0).rests


def test_without_a_gateway_there_is_always_a_pod() -> None:
    left = policy(minReplicas=0, maxReplicas=3).without_gateway()
    assert (left.awake, left.high, left.by, left.metric, left.target) == (1, 3, "hpa", "cpu", 80.0)


def test_metrics_of_ones_own_are_the_autoscalers() -> None:
    target = {"type": "AverageValue", "averageValue": "1Gi"}
    metric = {"type": "Resource", "resource": {"name": "memory", "target": target}}
    content = {"autoScaling": {"metrics": [metric]}}
    assert resource_metrics(content, policy(**content)) == [metric]
    content = {"scaleMetric": "memory", "scaleTarget": 300, "scaleMetricType": "AverageValue"}
    assert resource_metrics(content, policy(**content))[0]["resource"]["target"] == {
        "type": "AverageValue",
        "averageValue": "300Mi",
    }


def test_the_cpu_has_a_usual_target_in_metrics_of_ones_own() -> None:
    target = {"type": "Utilization"}
    content = {
        "autoScaling": {
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        }
    }
    (found,) = resource_metrics(content, policy({}))
    assert found["resource"]["target"] == {"type": "Utilization", "averageUtilization": 80}


def test_pods_follow_the_requests_in_flight() -> None:
    demand = Demand(since=0.0)
    for _ in range(35):
        demand.started(0.0)
    assert demand.replicas(by_requests(), current=1, now=60.0) == 4
    assert demand.replicas(by_requests(high=3), current=1, now=60.0) == 3


def test_pods_follow_the_requests_of_a_second() -> None:
    demand = Demand(since=0.0)
    for tenth in range(600):
        demand.started(tenth / 10)
        demand.finished(tenth / 10)
    assert demand.replicas(by_requests(metric="rps", target=4.0), current=3, now=59.95) == 3


def test_a_burst_is_answered_before_the_long_average_shows_it() -> None:
    demand = Demand(since=0.0)
    for _ in range(100):
        demand.started(54.0)
    assert demand.replicas(by_requests(), current=1, now=60.0) == 10
    for _ in range(100):
        demand.finished(60.0)
    assert demand.replicas(by_requests(), current=10, now=90.0) == 10
    assert demand.replicas(by_requests(), current=10, now=119.0) == 10


def test_rest_comes_after_the_window_and_only_where_it_may() -> None:
    demand = Demand(since=0.0)
    demand.started(10.0)
    assert demand.replicas(by_requests(), current=1, now=1000.0) == 1
    demand.finished(1000.0)
    assert demand.replicas(by_requests(), current=1, now=1059.0) == 1
    assert demand.replicas(by_requests(), current=1, now=1060.0) == 0
    assert demand.replicas(by_requests(retention=30.0), current=1, now=1060.0) == 1
    assert demand.replicas(by_requests(low=1), current=1, now=9999.0) == 1


@given(
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 30)), max_size=20),
    st.integers(0, 3),
    st.integers(0, 5),
    st.integers(1, 9),
)
def test_the_number_stays_within_the_limits(
    spans: list[tuple[float, float]], low: int, more: int, current: int
) -> None:
    demand = Demand(since=0.0)
    moments = sorted(
        [(start, 1) for start, _ in spans] + [(start + took, -1) for start, took in spans]
    )
    for moment, step in moments:
        (demand.started if step > 0 else demand.finished)(moment)
    found = demand.replicas(by_requests(low=low, high=low + more + 1), current, now=61.0)
    assert (found == 0 and low == 0) or max(1, low) <= found <= low + more + 1
    assert demand.in_flight == 0


def test_the_gateway_tells_what_was_asked_second_by_second() -> None:
    demand = Demand(100.0)
    for now in (101.2, 101.9, 103.5, 105.1):
        demand.started(now)
        demand.finished(now)
    assert demand.recent(105.5, 5) == [0, 2, 0, 1, 0], "the second that has not ended is not told"
