"""What a running pod may use can be changed, as far as the node has it and its kernel lets it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engine.memory_api import MemoryApi
from tests.engine.node import Node, container, pod, running_node

from kubeling.kube.objects import Obj, condition
from kubeling.kube.resources import PODS

WAIT = "until test -e go; do sleep 0.02; done"


@pytest.fixture
async def small(tmp_path: Path, api: MemoryApi) -> AsyncIterator[Node]:
    """A node of 2 CPUs and 2 GiB."""
    capacity = {"cpu": "2", "memory": "2Gi"}
    async with running_node(tmp_path / "data", api, capacity=capacity) as node:
        if "memory" not in node.engine.cgroups.branches:
            pytest.skip("this machine has no control groups for memory")
        yield node


def sized(memory: str = "64Mi", cpu: str = "500m", script: str = WAIT, **fields: object) -> Obj:
    resources = {"limits": {"memory": memory}, "requests": {"memory": memory, "cpu": cpu}}
    return container(script=script, resources=resources, **fields)


async def resize(node: Node, name: str, wanted: Obj) -> None:
    live = await node.client.get(PODS, name, "default")
    main = {**live["spec"]["containers"][0], "resources": wanted["resources"]}
    await node.client.patch(PODS, name, {"spec": {"containers": [main]}}, "default")


def main_status(obj: Obj) -> Obj:
    found: Obj = (obj["status"].get("containerStatuses") or [{}])[0]
    return found


def limit_of(node: Node) -> int:
    """The memory that the only container may use."""
    branch, unified = node.engine.cgroups.branches["memory"], node.engine.cgroups.unified
    (group,) = (entry for entry in branch.iterdir() if entry.is_dir())
    return int((group / ("memory.max" if unified else "memory.limit_in_bytes")).read_text())


async def test_a_running_container_gets_other_limits(small: Node) -> None:
    await small.create(pod("p", sized("64Mi")))
    first = await small.until("p", lambda p: "resources" in main_status(p))
    assert main_status(first)["resources"]["limits"] == {"memory": "64Mi"}
    assert limit_of(small) == 64 << 20
    await resize(small, "p", sized("128Mi", "1"))
    done = await small.until(
        "p", lambda p: main_status(p)["resources"]["limits"] == {"memory": "128Mi"}
    )
    assert limit_of(small) == 128 << 20
    assert main_status(done)["allocatedResources"] == {"memory": "128Mi", "cpu": "1"}
    assert main_status(done)["restartCount"] == 0
    await small.seen_event("ResizeCompleted", "main")


async def test_a_container_that_says_so_is_started_again(small: Node) -> None:
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    main = sized("64Mi", resizePolicy=policy)
    await small.create(pod("p", main, restartPolicy="Always"))
    await small.until("p", lambda p: "resources" in main_status(p))
    await resize(small, "p", sized("128Mi"))
    await small.until("p", lambda p: main_status(p)["restartCount"] == 1)
    await small.seen_event("Killing", "Container main resize requires restart")


async def test_what_the_node_can_never_give_is_infeasible(small: Node) -> None:
    await small.create(pod("p", sized()))
    await small.until("p", lambda p: "resources" in main_status(p))
    await resize(small, "p", sized("64Mi", "3"))
    told = await small.until("p", lambda p: condition(p, "PodResizePending"))
    assert (pending := condition(told, "PodResizePending")) is not None
    assert (pending.reason, pending.message) == (
        "Infeasible",
        "Node didn't have enough capacity: cpu, requested: 3, capacity: 2",
    )
    assert main_status(told)["resources"]["requests"]["cpu"] == "500m"


async def test_what_the_node_cannot_give_now_is_given_later(small: Node) -> None:
    taken = {"requests": {"cpu": "1"}, "limits": {"memory": "64Mi"}}
    await small.create(pod("other", container(script=WAIT, resources=taken)))
    await small.running("other")
    await small.create(pod("p", sized(script="sleep 60")))
    await small.until("p", lambda p: "resources" in main_status(p))
    await resize(small, "p", sized("64Mi", "1500m"))
    told = await small.until("p", lambda p: condition(p, "PodResizePending"))
    assert (pending := condition(told, "PodResizePending")) is not None
    assert pending.reason == "Deferred"
    (small.engine.config.workspace / "go").touch()
    done = await small.until("p", lambda p: main_status(p)["allocatedResources"]["cpu"] == "1500m")
    assert condition(done, "PodResizePending") is None


async def test_memory_that_is_in_use_is_not_taken_away(small: Node) -> None:
    program = "held = bytearray(64 << 20)\nprint('has', flush=True)\nimport time\ntime.sleep(60)"
    main = sized("512Mi")
    main |= {"image": "python", "command": ["python", "-c", program]}
    await small.create(pod("p", main))
    await small.until("p", lambda p: "resources" in main_status(p))
    await small.says("p", "has")
    await resize(small, "p", sized("16Mi"))
    told = await small.until("p", lambda p: condition(p, "PodResizeInProgress"))
    assert (why := condition(told, "PodResizeInProgress")) is not None
    assert (why.reason, why.message) == (
        "Error",
        "attempting to set a memory limit below what is used now",
    )


async def test_without_control_groups_a_resize_is_refused(tmp_path: Path, api: MemoryApi) -> None:
    async with running_node(tmp_path / "data", api, isolation=False) as node:
        await node.create(pod("p", sized()))
        await node.until("p", lambda p: "resources" in main_status(p))
        await resize(node, "p", sized("128Mi"))
        await node.seen_event("ResizeError", "cannot change the limits of a container that runs")


async def test_another_image_is_another_container(node: Node) -> None:
    await node.create(pod("p", container(script=WAIT), restartPolicy="Always"))
    await node.running("p")
    live = await node.client.get(PODS, "p", "default")
    main = {**live["spec"]["containers"][0], "image": "alpine"}
    await node.client.patch(PODS, "p", {"spec": {"containers": [main]}}, "default")
    again = await node.until("p", lambda p: main_status(p)["restartCount"] == 1)
    assert main_status(again)["image"] == "alpine"
    await node.seen_event("Killing", "Container main definition changed, will be restarted")
