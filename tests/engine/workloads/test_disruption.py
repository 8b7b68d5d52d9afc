"""What takes pods away from outside: budgets that limit it, taints that demand it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.workloads.cluster import Cluster, template, workload

from kubeling.engine.workloads.budgets import budget_numbers, healthy_pods, still_disrupted
from kubeling.engine.workloads.resources import POD_DISRUPTION_BUDGETS
from kubeling.engine.workloads.tainteviction import cordon_taints, seconds_to_live
from kubeling.kube.objects import Obj, condition, format_time, name, new_object
from kubeling.kube.resources import DEPLOYMENTS, EVENTS, NODES, PODS

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("spec", "expected", "healthy", "desired", "allowed"),
    [
        ({"minAvailable": 2}, 3, 3, 2, 1),
        ({"minAvailable": 2}, 3, 1, 2, 0),
        ({"minAvailable": "50%"}, 3, 3, 2, 1),
        ({"minAvailable": "100%"}, 3, 3, 3, 0),
        ({"maxUnavailable": 1}, 3, 3, 2, 1),
        ({"maxUnavailable": 1}, 3, 2, 2, 0),
        ({"maxUnavailable": "50%"}, 3, 3, 1, 2),
        ({"maxUnavailable": 5}, 3, 3, 0, 3),
        ({"minAvailable": 0}, 0, 0, 0, 0),
        ({}, 3, 3, 0, 3),
    ],
)
def test_what_a_budget_allows(
    spec: Obj, expected: int, healthy: int, desired: int, allowed: int
) -> None:
    assert budget_numbers(spec, expected, healthy) == {
        "expectedPods": expected,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
    }


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 100))
def test_no_more_is_allowed_than_leaves_enough(expected: int, healthy: int, percent: int) -> None:
    found = budget_numbers({"minAvailable": f"{percent}%"}, expected, min(healthy, expected))
    left = found["currentHealthy"] - found["disruptionsAllowed"]
    assert left >= min(found["currentHealthy"], found["desiredHealthy"])


def pod(title: str, *, ready: bool = True, going: bool = False) -> Obj:
    metadata: Obj = {"name": title, "uid": title}
    if going:
        metadata["deletionTimestamp"] = format_time(NOW)
    return {
        "metadata": metadata,
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def test_a_pod_whose_eviction_was_allowed_counts_as_gone_for_two_minutes() -> None:
    pods = [pod("a"), pod("b"), pod("c", going=True), pod("d", ready=False)]
    noted = {"a": format_time(NOW - dt.timedelta(seconds=30)), "c": format_time(NOW),
             "gone": format_time(NOW)}  # fmt: skip
    disrupted = still_disrupted(noted, pods, NOW)
    assert disrupted == {"a": 90.0}
    assert healthy_pods(pods, disrupted) == 1
    late = still_disrupted({"a": format_time(NOW - dt.timedelta(seconds=121))}, pods, NOW)
    assert late == {}


def bare(title: str, **spec: Any) -> Obj:
    found = template("web", **spec)["spec"]
    return new_object(PODS, title, "default", labels={"app": "web"}, spec=found)


async def budget(cluster: Cluster, **spec: Any) -> None:
    wanted = {"selector": {"matchLabels": {"app": "web"}}, **spec}
    made = new_object(POD_DISRUPTION_BUDGETS, "b", "default", spec=wanted)
    await cluster.client.create(POD_DISRUPTION_BUDGETS, made)


async def test_a_share_is_of_the_replicas_that_are_wanted(cluster: Cluster) -> None:
    made = workload("Deployment", replicas=4)
    made["spec"]["template"] = template("web", labels={"stuck": "yes"})
    await cluster.client.create(DEPLOYMENTS, made)
    await budget(cluster, maxUnavailable="25%")
    found = await cluster.until(
        POD_DISRUPTION_BUDGETS, "b", lambda b: b["status"].get("expectedPods") == 4
    )
    assert found["status"]["desiredHealthy"] == 3
    allowed = condition(found, "DisruptionAllowed")
    assert allowed is not None
    assert (allowed.status, allowed.reason) == ("False", "InsufficientPods")


async def test_pods_of_nobody_cannot_be_a_share(cluster: Cluster) -> None:
    await cluster.client.create(PODS, bare("bare"))
    await budget(cluster, minAvailable="50%")
    events = await cluster.until_list(
        EVENTS, lambda found: any(e["reason"] == "UnmanagedPods" for e in found)
    )
    (event,) = [e for e in events if e["reason"] == "UnmanagedPods"]
    assert "(selector: app=web) were found to be unmanaged" in event["message"]


@pytest.mark.parametrize(
    ("tolerations", "seconds"),
    [
        ([], 0.0),
        ([{"key": "bad", "operator": "Exists"}], None),
        ([{"key": "bad", "operator": "Exists", "tolerationSeconds": 60}], 60.0),
        ([{"operator": "Exists", "tolerationSeconds": 60},
          {"key": "bad", "operator": "Exists", "tolerationSeconds": 30}], 30.0),
        ([{"key": "bad", "operator": "Exists", "tolerationSeconds": -5}], 0.0),
        ([{"key": "bad", "operator": "Exists", "effect": "NoSchedule"}], 0.0),
    ],
)  # fmt: skip
def test_how_long_a_pod_stays_beside_a_taint(tolerations: list[Obj], seconds: float | None) -> None:
    taints = [{"key": "bad", "effect": "NoExecute"}, {"key": "x", "effect": "NoSchedule"}]
    assert seconds_to_live(taints, tolerations) == seconds


def test_a_cordoned_node_has_a_taint_and_loses_it() -> None:
    other = {"key": "mine", "effect": "NoSchedule"}
    found = cordon_taints({"spec": {"unschedulable": True, "taints": [other]}}, NOW)
    assert found is not None
    assert [taint["key"] for taint in found] == ["mine", "node.kubernetes.io/unschedulable"]
    assert cordon_taints({"spec": {"unschedulable": True, "taints": found}}, NOW) is None
    assert cordon_taints({"spec": {"taints": found}}, NOW) == [other]
    assert cordon_taints({"spec": {}}, NOW) is None


async def test_pods_leave_a_node_that_does_not_want_them(cluster: Cluster) -> None:
    stays = [{"key": "maintenance", "operator": "Exists"}]
    await cluster.client.create(PODS, bare("goes"))
    await cluster.client.create(PODS, bare("stays", tolerations=stays))
    await cluster.until_list(
        PODS, lambda pods: len([p for p in pods if p["spec"].get("nodeName")]) == 2
    )
    taint = {"key": "maintenance", "effect": "NoExecute"}
    await cluster.client.patch(NODES, "here", {"spec": {"taints": [taint]}})
    await cluster.until_gone(PODS, "goes")
    assert [name(p) for p in (await cluster.client.list(PODS, "default")).items] == ["stays"]
    events = (await cluster.client.list(EVENTS, "default")).items
    (told,) = [e for e in events if e["reason"] == "TaintManagerEviction"]
    assert told["message"] == "Marking for deletion Pod default/goes"
