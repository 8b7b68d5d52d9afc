"""What containers share: process ids, IPC; and containers added to a pod that runs."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engine.memory_api import MemoryApi
from tests.engine.node import Node, container, ended, pod, running_node, unprivileged_node

from kubeling.engine.sharing import HOLDER
from kubeling.kube.objects import Obj
from kubeling.kube.resources import PODS

OWN_NAME = Path("/proc/self/comm").read_text()
WAIT = "while :; do sleep 0.05; done"


@pytest.fixture(params=[running_node, unprivileged_node], ids=["root", "user namespace"])
async def any_node(
    request: pytest.FixtureRequest, tmp_path: Path, api: MemoryApi
) -> AsyncIterator[Node]:
    async with request.param(tmp_path / "data", api) as node:
        yield node


async def debug(node: Node, name: str, script: str, **fields: object) -> None:
    """What ``kubectl debug`` does."""
    added = {"ephemeralContainers": [container(name, script, **fields)]}
    await node.client.patch(PODS, "p", {"spec": added}, "default")


def main_state(obj: Obj) -> Obj:
    statuses = obj["status"].get("containerStatuses") or [{"state": {}}]
    state: Obj = statuses[0]["state"]
    return state


def added_state(obj: Obj) -> Obj:
    statuses = obj["status"].get("ephemeralContainerStatuses") or [{"state": {}}]
    state: Obj = statuses[0]["state"]
    return state


async def test_containers_of_a_pod_that_shares_them_see_each_other_s_processes(
    any_node: Node,
) -> None:
    server = container("server", "exec sleep 4321", restartPolicy="Always")
    main = container(script="until pgrep -x sleep -a | grep 4321; do sleep 0.05; done")
    done = await any_node.run(pod("p", main, initContainers=[server], shareProcessNamespace=True))
    assert done["status"]["phase"] == "Succeeded"
    assert (await any_node.logs("p", "main")).endswith("sleep 4321\n")


async def test_a_container_can_signal_another_where_they_share(any_node: Node) -> None:
    main = container(script=f"trap 'echo told; exit 0' USR1; : marker-of-main; {WAIT}")
    ender = container("ender", "while :; do pkill -USR1 -f [m]arker-of-main; sleep 0.1; done")
    await any_node.create(pod("p", main, ender, shareProcessNamespace=True))
    await any_node.until("p", lambda p: "terminated" in main_state(p))
    assert "told\n" in await any_node.logs("p", "main")


async def test_commands_run_among_the_shared_processes(any_node: Node) -> None:
    main = container(script=f"echo up; {WAIT}")
    await any_node.create(pod("p", main, shareProcessNamespace=True))
    await any_node.running("p")
    command = ["sh", "-c", "cat /proc/1/comm; pgrep -x sleep | wc -l | grep -c -v '^0$'"]
    session = await any_node.engine.node_api.exec("default", "p", "", command)
    said = b"".join([data async for _, data in session.output()])
    assert said.split() == [b"kubeling-pod", b"1"]
    await session.close()


async def test_shared_processes_are_found_again_and_end_with_the_pod(
    tmp_path: Path, api: MemoryApi
) -> None:
    main = container(script=f"echo up; {WAIT}")
    async with running_node(tmp_path / "data", api, end_pods=False) as node:
        await node.create(pod("p", main, shareProcessNamespace=True))
        await node.running("p")
    async with running_node(tmp_path / "data", api) as node:
        found = await node.running("p")
        paths = node.engine.config.paths.pod(found["metadata"]["uid"])
        pid = json.loads(paths.container(HOLDER, 0).state.read_bytes())["pid"]
        await node.client.delete(PODS, "p", "default", grace_period_seconds=0)
        await node.gone("p")
        await ended(pid)


async def test_without_it_containers_are_alone(node: Node) -> None:
    other = container("other", "exec sleep 4321", restartPolicy="Always")
    main = container(script="pgrep -x sleep || echo alone")
    await node.run(pod("p", main, initContainers=[other]))
    assert await node.logs("p", "main") == "alone\n"


async def test_a_pod_can_see_the_machine_s_processes(any_node: Node) -> None:
    main = container(script=f"cat /proc/{os.getpid()}/comm; test -e /proc/$$$$ && echo self")
    await any_node.run(pod("p", main, hostPID=True))
    assert await any_node.logs("p") == f"{OWN_NAME}self\n"


async def test_a_pod_can_use_the_machine_s_ipc(node: Node) -> None:
    main = container(script="readlink /proc/self/ns/ipc; stat -c %d /dev/shm")
    await node.run(pod("p", main, hostIPC=True))
    ours = f"{os.readlink('/proc/self/ns/ipc')}\n{os.stat('/dev/shm').st_dev}\n"
    assert await node.logs("p") == ours


# Containers added to a pod that runs


async def test_a_debug_container_runs_beside_the_others(any_node: Node) -> None:
    await any_node.create(pod("p", container(script=WAIT)))
    await any_node.running("p")
    await debug(any_node, "look", "uname -n; exit 3")
    seen = await any_node.until("p", lambda p: "terminated" in added_state(p))
    assert added_state(seen)["terminated"]["exitCode"] == 3
    assert seen["status"]["phase"] == "Running"
    assert await any_node.logs("p", "look") == "p\n"


async def test_a_debug_container_sees_the_processes_of_its_target(any_node: Node) -> None:
    await any_node.create(pod("p", container(script="echo up; exec sleep 4321")))
    await any_node.running("p")
    script = "pgrep -x sleep -a; ls /proc/1/root > /dev/null && echo root"
    await debug(any_node, "look", script, targetContainerName="main")
    await any_node.until("p", lambda p: "terminated" in added_state(p))
    assert "sleep 4321" in await any_node.logs("p", "look")


async def test_debug_containers_end_with_the_pod(any_node: Node) -> None:
    main = container(script="until test -e go; do sleep 0.02; done")
    await any_node.create(pod("p", main))
    await any_node.running("p")
    await debug(any_node, "look", WAIT)
    await any_node.until("p", lambda p: "running" in added_state(p))
    (any_node.engine.config.workspace / "go").touch()
    done = await any_node.finished("p")
    assert done["status"]["phase"] == "Succeeded"
    assert "terminated" in added_state(done)


async def test_a_debug_container_is_found_again(tmp_path: Path, api: MemoryApi) -> None:
    async with running_node(tmp_path / "data", api, end_pods=False) as node:
        await node.create(pod("p", container(script=WAIT)))
        await node.running("p")
        await debug(node, "look", f"echo once; {WAIT}")
        await node.until("p", lambda p: "running" in added_state(p))
    async with running_node(tmp_path / "data", api) as node:
        await node.client.patch(PODS, "p", {"metadata": {"labels": {"seen": "again"}}}, "default")
        found = await node.until("p", lambda p: "labels" in p["metadata"])
        assert "running" in added_state(found)
        assert found["status"]["ephemeralContainerStatuses"][0]["restartCount"] == 0
        assert (await node.logs("p", "look")).count("once") == 1
