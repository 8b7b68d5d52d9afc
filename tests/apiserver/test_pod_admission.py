"""What the API server fills in and refuses of pods and claims: limits, priorities, placement."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.apiserver import RunningServer, running_server

from kubeling.kube.client import Client
from kubeling.kube.errors import Forbidden, Invalid
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import (
    LIMIT_RANGES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    PRIORITY_CLASSES,
    Resource,
)

RUNTIME_CLASSES = Resource("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", False)
LOST = [
    {
        "key": f"node.kubernetes.io/{key}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 300,
    }
    for key in ("not-ready", "unreachable")
]


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        yield running


@pytest.fixture
def client(running: RunningServer) -> Client:
    return running.client


def container(name: str = "a", requests: Obj | None = None, limits: Obj | None = None) -> Obj:
    resources = {"requests": requests or {}, "limits": limits or {}}
    return {"name": name, "image": "busybox", "resources": resources}


async def create(client: Client, *containers: Obj, name: str = "p", **spec: Any) -> Obj:
    """The spec of a pod as it is after admission."""
    wanted = {"containers": list(containers) or [container()], **spec}
    pod = await client.create(PODS, new_object(PODS, name, "default", spec=wanted))
    found: Obj = pod["spec"]
    return found


async def refusal(client: Client, *containers: Obj, **spec: Any) -> str:
    with pytest.raises(Forbidden) as raised:
        await create(client, *containers, name="refused", **spec)
    return str(raised.value)


async def bound(client: Client, kind: str, **limit: Obj) -> None:
    spec = {"limits": [{"type": kind, **limit}]}
    await client.create(LIMIT_RANGES, new_object(LIMIT_RANGES, "limits", "default", spec=spec))


# --- limit ranges ------------------------------------------------------------------------------


async def test_containers_get_what_their_namespace_prescribes(client: Client) -> None:
    await bound(client, "Container", default={"cpu": "2"}, defaultRequest={"cpu": "1"})
    wanted = [container(), container("b", requests={"cpu": "500m"})]
    pod = new_object(PODS, "p", "default", spec={"containers": wanted})
    made = await client.create(PODS, pod)
    first, second = (c["resources"] for c in made["spec"]["containers"])
    assert first == {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}
    assert second == {"requests": {"cpu": "500m"}, "limits": {"cpu": "2"}}
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu request for container a; cpu limit for container a; "
        "cpu limit for container b"
    )


async def test_containers_stay_within_bounds(client: Client) -> None:
    await bound(
        client,
        "Container",
        min={"memory": "64Mi"},
        max={"memory": "1Gi"},
        maxLimitRequestRatio={"memory": "2"},
        default={"memory": "128Mi"},
        defaultRequest={"memory": "128Mi"},
    )
    for requests, limits, message in (
        ("1Mi", "1Mi", "minimum memory usage per Container is 64Mi, but request is 1Mi"),
        ("1Gi", "2Gi", "maximum memory usage per Container is 1Gi, but limit is 2Gi"),
        ("64Mi", "1Gi", "ratio per Container is 2, but provided ratio is 16.000000"),
    ):
        wanted = container("a", {"memory": requests}, {"memory": limits})
        assert message in await refusal(client, wanted)
        init = container("i", {"memory": requests}, {"memory": limits})
        assert message in await refusal(client, initContainers=[init])
    await create(client, container("a", {"memory": "64Mi"}, {"memory": "128Mi"}))


async def test_what_is_bounded_has_to_be_stated(client: Client) -> None:
    await bound(client, "Pod", min={"cpu": "1"}, max={"memory": "1Gi"})
    message = await refusal(client)
    assert message.endswith(
        "[minimum cpu usage per Pod is 1.  No request is specified, maximum memory usage per Pod "
        "is 1Gi.  No limit is specified]"
    )


async def test_a_pod_is_bounded_as_a_whole(client: Client) -> None:
    await bound(client, "Pod", max={"cpu": "2"})
    half, whole = ({"cpu": amount} for amount in ("500m", "2"))
    await create(client, container("a", limits=half), container("b", limits=half))
    found = await refusal(client, container("a", limits=half), container("b", limits=whole))
    assert "maximum cpu usage per Pod is 2, but limit is 2500m" in found


async def test_claims_are_bounded(client: Client) -> None:
    await bound(client, "PersistentVolumeClaim", min={"storage": "1Gi"}, max={"storage": "10Gi"})

    async def claim(amount: str) -> Obj:
        resources = {"requests": {"storage": amount}}
        spec = {"accessModes": ["ReadWriteOnce"], "resources": resources}
        obj = new_object(PERSISTENT_VOLUME_CLAIMS, "c", "default", spec=spec)
        return await client.create(PERSISTENT_VOLUME_CLAIMS, obj)

    about = "storage usage per PersistentVolumeClaim is"
    for amount, message in (
        ("1Mi", f"minimum {about} 1Gi, but request is 1Mi"),
        ("11Gi", f"maximum {about} 10Gi, but request is 11Gi"),
    ):
        with pytest.raises(Forbidden, match=message):
            await claim(amount)
    assert (await claim("2Gi"))["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]


# --- priorities --------------------------------------------------------------------------------


def priority_class(name: str, value: int, **fields: Any) -> Obj:
    return {**new_object(PRIORITY_CLASSES, name), "value": value, **fields}


async def test_a_pod_has_the_priority_of_its_class(client: Client) -> None:
    high = priority_class("high", 1000, preemptionPolicy="Never")
    await client.create(PRIORITY_CLASSES, high)
    found = await create(client, priorityClassName="high")
    assert (found["priority"], found["preemptionPolicy"]) == (1000, "Never")
    found = await create(client, name="q")
    assert (found["priority"], found["preemptionPolicy"]) == (0, "PreemptLowerPriority")
    found = await create(client, name="r", priorityClassName="system-node-critical")
    assert found["priority"] == 2_000_001_000


async def test_a_class_may_be_for_pods_that_name_none(client: Client) -> None:
    await client.create(PRIORITY_CLASSES, priority_class("usual", 7, globalDefault=True))
    found = await create(client)
    assert (found["priorityClassName"], found["priority"]) == ("usual", 7)
    with pytest.raises(Forbidden, match="usual is already marked as default"):
        await client.create(PRIORITY_CLASSES, priority_class("other", 8, globalDefault=True))


async def test_a_priority_of_ones_own_is_refused(client: Client) -> None:
    assert "no PriorityClass with name none was found" in await refusal(
        client, priorityClassName="none"
    )
    assert "the integer value of priority (5) must not be provided" in await refusal(
        client, priority=5
    )


async def test_a_pod_keeps_its_priority_when_a_writer_leaves_it_out(client: Client) -> None:
    await client.create(PRIORITY_CLASSES, priority_class("high", 1000))
    await create(client, priorityClassName="high")
    pod = await client.get(PODS, "p", "default")
    del pod["spec"]["priority"]
    pod["metadata"]["labels"] = {"a": "b"}
    assert (await client.replace(PODS, pod))["spec"]["priority"] == 1000


async def test_the_systems_classes_are_its_own(client: Client) -> None:
    with pytest.raises(Invalid, match="reserved for system use only"):
        await client.create(PRIORITY_CLASSES, priority_class("system-mine", 5))
    with pytest.raises(Forbidden, match="system priority class and cannot be deleted"):
        await client.delete(PRIORITY_CLASSES, "system-cluster-critical")


# --- placement ---------------------------------------------------------------------------------


async def test_pods_stay_five_minutes_on_a_lost_node(client: Client) -> None:
    assert (await create(client))["tolerations"] == LOST
    mine = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 9}
    mine["effect"] = "NoExecute"
    assert (await create(client, name="q", tolerations=[mine]))["tolerations"] == [mine, LOST[1]]
    every = [{"operator": "Exists"}]
    assert (await create(client, name="r", tolerations=every))["tolerations"] == every


async def test_a_runtime_class_says_what_it_costs_and_where_it_runs(client: Client) -> None:
    sandbox = new_object(RUNTIME_CLASSES, "sandbox")
    toleration = {"key": "sandbox", "operator": "Exists"}
    scheduling = {"nodeSelector": {"sandbox": "yes"}, "tolerations": [toleration]}
    overhead = {"podFixed": {"cpu": "100m"}}
    await client.create(
        RUNTIME_CLASSES,
        {**sandbox, "handler": "kata", "overhead": overhead, "scheduling": scheduling},
    )
    found = await create(client, runtimeClassName="sandbox", nodeSelector={"disk": "ssd"})
    assert found["overhead"] == {"cpu": "100m"}
    assert found["nodeSelector"] == {"disk": "ssd", "sandbox": "yes"}
    assert found["tolerations"] == [*LOST, toleration]
    for spec, message in (
        ({"runtimeClassName": "none"}, 'pod rejected: RuntimeClass "none" not found'),
        ({"overhead": {"cpu": "1"}}, "without corresponding RuntimeClass defined Overhead"),
        (
            {"runtimeClassName": "sandbox", "overhead": {"cpu": "1"}},
            "Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            {"runtimeClassName": "sandbox", "nodeSelector": {"sandbox": "no"}},
            "conflict: runtimeClass.scheduling.nodeSelector[sandbox] = yes",
        ),
    ):
        assert message in await refusal(client, **spec)


async def test_volumes_are_protected_from_the_start(client: Client) -> None:
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/v"},
    }
    volume = new_object(PERSISTENT_VOLUMES, "v", spec=spec)
    made = await client.create(PERSISTENT_VOLUMES, volume)
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
