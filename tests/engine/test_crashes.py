"""What survives when parts of the platform are killed: the pods."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from tests.engine.memory_api import MemoryApi
from tests.engine.node import Node, container, ended, pod, removed, running_node

from kubeling.kube.objects import Obj


async def test_pods_run_on_without_the_platform_and_are_found_again(
    tmp_path: Path, api: MemoryApi
) -> None:
    go = tmp_path / "workspace" / "go"
    async with running_node(tmp_path / "data", api, end_pods=False) as node:
        script = "echo begun; until test -e go; do sleep 0.02; done; echo done; exit 4"
        await node.create(pod("p", container(script=script)))
        before = await node.running("p")
    async with running_node(tmp_path / "data", api) as node:
        go.touch()
        done = await node.finished("p")
        (main,) = done["status"]["containerStatuses"]
        assert main["state"]["terminated"]["exitCode"] == 4
        assert main["restartCount"] == 0
        assert done["status"]["podIP"] == before["status"]["podIP"]
        assert await node.logs("p") == "begun\ndone\n"


async def test_the_exit_code_of_a_pod_that_ended_meanwhile_is_known(
    tmp_path: Path, api: MemoryApi
) -> None:
    async with running_node(tmp_path / "data", api, end_pods=False) as node:
        created = await node.create(pod("p", container(script="sleep 0.3; exit 7")))
        await node.running("p")
        paths = node.engine.config.paths.pod(created["metadata"]["uid"]).container("main", 0)
    await ended(_supervisor(paths.state))
    async with running_node(tmp_path / "data", api) as node:
        done = await node.finished("p")
        assert done["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 7


async def test_a_pod_deleted_meanwhile_is_ended_and_removed(tmp_path: Path, api: MemoryApi) -> None:
    async with running_node(tmp_path / "data", api, end_pods=False) as node:
        created = await node.create(pod("p", container(script="sleep 60")))
        await node.running("p")
        paths = node.engine.config.paths.pod(created["metadata"]["uid"])
        pid = _supervisor(paths.container("main", 0).state)
    del api.objects["pods", "default", "p"]
    async with running_node(tmp_path / "data", api) as node:
        await node.run(pod("other", container(script="true")))
        await node.run(pod("another", container(script="true")))
        await ended(pid)
        await removed(paths.root)


async def test_a_killed_zygote_is_replaced_and_takes_no_pod_with_it(node: Node) -> None:
    await node.create(pod("p", container(script="until test -e go; do sleep 0.02; done")))
    await node.running("p")
    zygote = node.engine.launcher.pid
    assert zygote is not None
    os.kill(zygote, signal.SIGKILL)
    assert (await node.run(pod("q", container(script="touch go"))))["status"][
        "phase"
    ] == "Succeeded"
    assert (await node.finished("p"))["status"]["phase"] == "Succeeded"
    assert node.engine.launcher.pid != zygote


async def test_a_killed_supervisor_ends_its_container_with_137(node: Node) -> None:
    created = await node.create(pod("p", container(script="sleep 60")))
    await node.running("p")
    paths = node.engine.config.paths.pod(created["metadata"]["uid"]).container("main", 0)
    os.kill(_supervisor(paths.state), signal.SIGKILL)
    done = await node.finished("p")
    assert done["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


async def test_a_finished_pod_is_not_run_again(tmp_path: Path, api: MemoryApi) -> None:
    async with running_node(tmp_path / "data", api) as node:
        await node.run(pod("p", container(script="echo x >> runs")))
    async with running_node(tmp_path / "data", api) as node:
        await node.run(pod("q", container(script="true")))
        assert await node.logs("p") == ""
    assert (tmp_path / "workspace" / "runs").read_text() == "x\n"


async def test_after_a_reboot_a_pod_that_is_to_run_runs_with_a_new_address(
    tmp_path: Path, api: MemoryApi
) -> None:
    lasting = pod("p", container(script="echo up; sleep 60"), restartPolicy="Always")
    async with running_node(tmp_path / "data", api) as node:
        await node.create(lasting)
        await node.running("p")
    async with running_node(tmp_path / "data", api) as node:
        again = await node.until("p", lambda p: _restarts(p) == 1)
        assert again["status"]["podIP"].startswith("10.244.")
        assert again["status"]["phase"] == "Running"


async def test_restarts_are_counted_on(tmp_path: Path, api: MemoryApi) -> None:
    looping = pod("p", container(script="exit 1"), restartPolicy="Always")
    async with running_node(tmp_path / "data", api, end_pods=False, backoff_base=0.2) as node:
        await node.create(looping)
        await node.until("p", lambda p: _restarts(p) >= 2)
    async with running_node(tmp_path / "data", api, backoff_base=0.2) as node:
        again = await node.until("p", lambda p: _restarts(p) >= 3)
        assert again["status"]["phase"] == "Running"


def _restarts(obj: dict) -> int:  # type: ignore[type-arg]
    statuses = obj["status"].get("containerStatuses") or [{"restartCount": 0}]
    return int(statuses[0]["restartCount"])


def _supervisor(state: Path) -> int:
    return int(state.read_text().split('"pid": ')[1].split(",")[0])


async def test_stopping_the_platform_again_and_again_makes_no_pod_wait(
    tmp_path: Path, api: MemoryApi
) -> None:
    async with running_node(tmp_path / "data", api) as node:
        await node.create(pod("p", container(script="sleep 60"), restartPolicy="Always"))
        await node.running("p")
    for stops in (1, 2, 3):
        async with running_node(tmp_path / "data", api, backoff_base=300.0) as node:
            await node.until("p", _has_begun_again(stops))


def _has_begun_again(times: int) -> Callable[[Obj], bool]:
    def holds(found: Obj) -> bool:
        statuses = found["status"].get("containerStatuses") or [{}]
        return "running" in statuses[0]["state"] and statuses[0]["restartCount"] == times

    return holds
