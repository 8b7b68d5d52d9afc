"""Pods of a PodGroup start together, or say what they wait for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.engine.memory_api import MemoryApi
from tests.engine.node import Node, container, pod, running_node
from tests.engine.test_scheduler import NODE, ledger
from tests.engine.test_scheduler import pod as asking

from kubeling.engine.gangs import GANG_SCHEDULER, POD_GROUPS, gathered
from kubeling.engine.scheduler import Ledger, unschedulable_reason
from kubeling.kube.objects import Obj, condition, name, new_object
from kubeling.kube.resources import PODS

LABEL = "scheduling.x-k8s.io/pod-group"


def group(members: int, **spec: Any) -> Obj:
    return new_object(POD_GROUPS, "g", "default", spec={"minMember": members, **spec})


def member(title: str, cpu: str = "0", **spec: Any) -> Obj:
    resources = {"requests": {"cpu": cpu}}
    made = pod(title, container(script="sleep 600", resources=resources), **spec)
    made["metadata"]["labels"] = {LABEL: "g"}
    return made


def refuses(obj: Obj, book: Ledger) -> str:
    return unschedulable_reason(obj, NODE, book)


def why(obj: Obj) -> str:
    found = condition(obj, "PodScheduled")
    return found.message if found is not None and found.status == "False" else ""


async def test_a_group_starts_when_it_is_complete(node: Node) -> None:
    await node.client.create(POD_GROUPS, group(2))
    await node.create(member("a"))
    waiting = await node.until("a", why)
    assert why(waiting) == 'pod group "g" starts with 2 pods and has 1'
    await node.create(member("b"))
    await node.running("a")
    await node.running("b")


async def test_a_group_waits_until_all_of_it_fits(tmp_path: Path, api: MemoryApi) -> None:
    async with running_node(tmp_path / "data", api, capacity={"cpu": "3"}) as node:
        await node.client.create(POD_GROUPS, group(2))
        await node.create(pod("first", container(script="sleep 600", resources=_cpu("2"))))
        await node.running("first")
        for title in ("a", "b"):
            await node.create(member(title, "1"))
        waiting = await node.until("a", lambda p: "together" in why(p))
        assert why(waiting) == (
            'pod group "g" starts with 2 pods together, and 1 fit: '
            "0/1 nodes are available: 1 Insufficient cpu."
        )
        assert (await node.client.get(PODS, "b", "default"))["spec"].get("nodeName") is None
        await node.client.delete(PODS, "first", "default", grace_period_seconds=0)
        await node.running("a")
        await node.running("b")


async def test_a_group_may_ask_for_less(node: Node) -> None:
    await node.client.create(POD_GROUPS, group(3))
    await node.create(member("a", schedulerName=GANG_SCHEDULER))
    await node.until("a", why)
    await node.client.patch(POD_GROUPS, "g", {"spec": {"minMember": 1}}, "default")
    await node.running("a")


async def test_a_pod_whose_group_is_missing_says_so(node: Node) -> None:
    await node.create(member("a"))
    waiting = await node.until("a", why)
    assert why(waiting) == 'pod group "g" not found'
    await node.client.create(POD_GROUPS, group(1))
    await node.running("a")


def test_a_replacement_waits_for_nobody_once_the_group_has_started() -> None:
    found = gathered(asking("again"), group(3), 2, [], ledger(), refuses)
    assert [name(p) for p in found if not isinstance(p, str)] == ["again"]


def test_what_has_to_be_free_may_be_stated() -> None:
    wanted = group(1, minResources={"cpu": "8"})
    found = gathered(asking("a"), wanted, 0, [], ledger(cpu=2), refuses)
    assert found == 'pod group "g" starts when its minResources are free: Insufficient cpu'


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(1, 6), st.integers(0, 8))
def test_either_enough_start_or_none(asked: list[int], wanted: int, cpus: int) -> None:
    pods = [asking(f"p{i}", str(cpu)) for i, cpu in enumerate(asked)]
    found = gathered(pods[0], group(wanted), 0, pods[1:], ledger(cpu=cpus), refuses)
    if isinstance(found, str):
        assert found
    else:
        assert len(found) >= wanted
        assert found[0] is pods[0]
        taken = sum(asked[pods.index(started)] for started in found)
        assert taken <= cpus


def _cpu(amount: str) -> dict[str, Any]:
    return {"requests": {"cpu": amount}}
