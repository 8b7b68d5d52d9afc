"""From measurements to replicas: upstream's rules for missing, starting and unready pods."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.engine.workloads.replica_calculator import (
    MetricError,
    PodMetric,
    Tolerances,
    milli,
    per_pod_replicas,
    replicas_by_ratio,
    replicas_by_usage,
    replicas_by_utilization,
)
from kubeling.kube.objects import Obj, format_time

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
LONG_AGO = NOW - dt.timedelta(hours=1)
TEN_PERCENT = Tolerances()


def pod(
    title: str,
    *,
    phase: str = "Running",
    ready: bool = True,
    started: dt.datetime = LONG_AGO,
    changed: dt.datetime | None = None,
    request: str = "1",
    **metadata: Any,
) -> Obj:
    resources = {"requests": {"cpu": request, "memory": request}} if request else {}
    condition = {
        "type": "Ready",
        "status": str(ready),
        "lastTransitionTime": format_time(changed or started),
    }
    return {
        "metadata": {"name": title, **metadata},
        "spec": {"containers": [{"name": "main", "resources": resources}]},
        "status": {"phase": phase, "startTime": format_time(started), "conditions": [condition]},
    }


def metrics(**values: int) -> dict[str, PodMetric]:
    return {title: PodMetric(value, NOW, 30.0) for title, value in values.items()}


def pods(count: int) -> list[Obj]:
    return [pod(f"p{number}") for number in range(count)]


def by_cpu(found: list[Obj], measured: dict[str, PodMetric], target: int, current: int) -> int:
    answer = replicas_by_utilization(
        current, found, measured, "cpu", "", target, TEN_PERCENT, NOW
    )  # fmt: skip
    return answer.replicas


def test_utilization_is_use_over_requests() -> None:
    answer = replicas_by_utilization(
        2, pods(2), metrics(p0=1000, p1=500), "cpu", "", 50, TEN_PERCENT, NOW
    )
    assert answer == (3, 750, 75)


@pytest.mark.parametrize(("use", "replicas"), [(540, 2), (560, 3), (455, 2), (440, 2), (240, 1)])
def test_within_ten_percent_of_the_target_nothing_is_done(use: int, replicas: int) -> None:
    assert by_cpu(pods(2), metrics(p0=use, p1=use), 50, 2) == replicas


@pytest.mark.parametrize(
    ("tolerances", "use", "replicas"),
    [
        (Tolerances(up=0.0), 510, 3),
        (Tolerances(up=0.5), 700, 2),
        (Tolerances(down=0.5), 300, 2),
        (Tolerances(down=0.05), 230, 1),
    ],
)
def test_each_direction_has_a_tolerance_of_its_own(
    tolerances: Tolerances, use: int, replicas: int
) -> None:
    measured = metrics(p0=use, p1=use)
    answer = replicas_by_utilization(2, pods(2), measured, "cpu", "", 50, tolerances, NOW)
    assert answer.replicas == replicas


def test_when_shrinking_a_pod_without_a_metric_counts_as_using_all_it_asked_for() -> None:
    assert by_cpu(pods(4), metrics(p0=100, p1=100, p2=100), 50, 4) == 3
    assert by_cpu(pods(4), metrics(p0=100, p1=100, p2=100, p3=100), 50, 4) == 1


def test_when_growing_a_pod_without_a_metric_counts_as_idle() -> None:
    assert by_cpu(pods(2), metrics(p0=2000), 50, 2) == 4
    assert by_cpu(pods(2), metrics(p0=600), 50, 2) == 2


def test_a_raw_target_is_what_a_pod_without_a_metric_is_taken_to_use() -> None:
    measured = metrics(p0=10_000, p1=10_000)
    answer = replicas_by_usage(3, pods(3), measured, "", 30_000, TEN_PERCENT, NOW)
    assert answer.replicas == 2


def test_pods_that_are_not_there_yet_count_as_idle_when_growing() -> None:
    found = [*pods(2), pod("new", phase="Pending", ready=False)]
    assert by_cpu(found, metrics(p0=1000, p1=1000), 50, 3) == 4
    assert by_cpu(found, metrics(p0=400, p1=400), 80, 3) == 1


def test_failed_and_going_pods_do_not_count() -> None:
    going = pod("b", deletionTimestamp=format_time(NOW))
    found = [pod("a"), going, pod("c", phase="Failed", ready=False)]
    assert by_cpu(found, metrics(a=1000, b=9000, c=9000), 50, 3) == 2


def test_the_cpu_of_a_start_says_nothing() -> None:
    """For five minutes a sample counts only if the pod was ready over its whole window."""
    young = NOW - dt.timedelta(minutes=2)
    just_ready = pod("a", started=young, changed=NOW - dt.timedelta(seconds=20))
    for_long = pod("a", started=young, changed=NOW - dt.timedelta(seconds=40))
    with pytest.raises(MetricError, match="pods might be unready"):
        by_cpu([just_ready], metrics(a=1000), 50, 1)
    assert by_cpu([for_long], metrics(a=1000), 50, 1) == 2


def test_a_pod_that_was_never_ready_does_not_count_and_one_that_lost_it_does() -> None:
    never = pod("a", ready=False, changed=LONG_AGO + dt.timedelta(seconds=10))
    lost = pod("a", ready=False, changed=LONG_AGO + dt.timedelta(minutes=10))
    with pytest.raises(MetricError):
        by_cpu([never], metrics(a=1000), 50, 1)
    assert by_cpu([lost], metrics(a=1000), 50, 1) == 2


def test_only_cpu_waits_for_readiness() -> None:
    starting = pod("a", ready=False, started=NOW)
    answer = replicas_by_usage(1, [starting], metrics(a=2000), "memory", 1000, TEN_PERCENT, NOW)
    assert answer.replicas == 2


def test_a_request_that_is_missing_is_named() -> None:
    with pytest.raises(MetricError, match="missing request for cpu in container main of Pod a"):
        by_cpu([pod("a", request="")], metrics(a=1), 50, 1)


def test_one_container_can_be_measured_alone() -> None:
    both = pod("a")
    both["spec"]["containers"].append({"name": "proxy", "resources": {"requests": {"cpu": "4"}}})
    answer = replicas_by_utilization(
        1, [both], metrics(a=1000), "cpu", "main", 50, TEN_PERCENT, NOW
    )  # fmt: skip
    assert answer == (2, 1000, 100)
    with pytest.raises(MetricError, match="container web not found in Pod a"):
        replicas_by_utilization(1, [both], metrics(a=1), "cpu", "web", 50, TEN_PERCENT, NOW)


def test_requests_of_the_pod_as_a_whole_come_before_those_of_its_containers() -> None:
    whole = pod("a", request="")
    whole["spec"]["resources"] = {"requests": {"cpu": "2"}}
    assert by_cpu([whole], metrics(a=1000), 50, 1) == 1


def test_a_value_of_all_pods_together_multiplies_the_ready_ones() -> None:
    found = [*pods(2), pod("new", phase="Pending", ready=False)]
    assert replicas_by_ratio(3, 2.0, found, TEN_PERCENT) == 4
    assert replicas_by_ratio(3, 1.05, found, TEN_PERCENT) == 3


def test_from_zero_the_ratio_itself_is_the_number() -> None:
    assert replicas_by_ratio(0, 2.3, [], TEN_PERCENT) == 3
    assert replicas_by_ratio(0, 0.0, [], TEN_PERCENT) == 0


def test_a_value_can_be_shared_out() -> None:
    assert per_pod_replicas(2, milli("90"), milli("30"), TEN_PERCENT) == (3, 45_000, 0)
    assert per_pod_replicas(3, milli("93"), milli("30"), TEN_PERCENT) == (3, 31_000, 0)
    assert per_pod_replicas(0, milli("61"), milli("30"), TEN_PERCENT).replicas == 3
    assert per_pod_replicas(2, 0, milli("30"), TEN_PERCENT).replicas == 0


@given(
    st.integers(1, 12),
    st.lists(st.integers(0, 5000), min_size=1, max_size=8),
    st.integers(0, 4),
    st.integers(0, 4),
)
def test_unknown_pods_only_ever_dampen(
    current: int, uses: list[int], missing: int, unready: int
) -> None:
    known = pods(len(uses))
    measured = metrics(**{f"p{number}": use for number, use in enumerate(uses)})
    unknown = [pod(f"m{number}") for number in range(missing)]
    unknown += [pod(f"u{number}", phase="Pending", ready=False) for number in range(unready)]
    sure = by_cpu(known, measured, 50, current)
    unsure = by_cpu([*known, *unknown], measured, 50, current)
    average = sum(uses) / len(uses)
    if average > 500 and unsure > current:
        # Growth by what is known alone, or by the same use spread over more pods.
        assert unsure <= max(sure, len(known) + len(unknown) + sure)
    if average < 400:
        assert unsure <= max(current, sure + len(unknown))
    assert unsure >= 0
