"""Where the system grants no walls, pods still run, and an Event says what is missing."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engine.memory_api import MemoryApi
from tests.engine.node import TIMEOUT, Node, container, ended, pod, running_node

from kubeling.kube.resources import PODS


@pytest.fixture
async def plain(tmp_path: Path, api: MemoryApi) -> AsyncIterator[Node]:
    async with running_node(tmp_path / "data", api, isolation=False) as node:
        yield node


async def test_a_pod_runs_in_the_workspace(plain: Node) -> None:
    done = await plain.run(pod("p", container(script="pwd; exit 5")))
    assert await plain.logs("p") == f"{plain.engine.config.workspace}\n"
    assert done["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 5
    assert done["status"]["podIP"] == done["status"]["hostIP"] == "127.0.0.1"


async def test_processes_left_behind_are_ended(plain: Node) -> None:
    await plain.run(pod("p", container(script="setsid sleep 60 & echo $!")))
    await ended(int(await plain.logs("p")))


async def test_deleting_ends_the_whole_tree(plain: Node) -> None:
    await plain.create(pod("p", container(script="sleep 60 & echo $!; wait")))
    await plain.running("p")
    await plain.says("p", "\n")
    child = int(await plain.logs("p"))
    await plain.client.delete(PODS, "p", "default")
    await plain.gone("p")
    await ended(child)


async def test_force_deletion_ends_the_whole_tree(plain: Node) -> None:
    await plain.create(pod("p", container(script="trap '' TERM; sleep 60 & echo $!; wait")))
    await plain.running("p")
    await plain.says("p", "\n")
    child = int(await plain.logs("p"))
    await plain.client.delete(PODS, "p", "default", grace_period_seconds=0)
    await plain.gone("p")
    await ended(child)


async def test_commands_run_beside_the_container(plain: Node) -> None:
    await plain.create(pod("p", container(script="sleep 60", env=[{"name": "A", "value": "1"}])))
    await plain.running("p")
    session = await plain.engine.node_api.exec(
        "default", "p", "", ["sh", "-c", "echo $A"], stdin=False
    )
    assert [data async for _, data in session.output()] == [b"1\n"]
    await session.close()


@pytest.mark.parametrize("tty", [False, True])
async def test_commands_end_with_the_container(plain: Node, tty: bool) -> None:
    await plain.create(pod("p", container(script="until test -e go; do sleep 0.02; done")))
    await plain.running("p")
    command = ["sh", "-c", "echo $$; exec sleep 60"]
    session = await plain.engine.node_api.exec("default", "p", "", command, tty=tty)
    output = session.output()
    _, said = await anext(output)
    (plain.engine.config.workspace / "go").touch()
    async with asyncio.timeout(TIMEOUT):
        await ended(int(said))
        assert [piece async for piece in output] == []
        assert await session.wait() == 137
    await session.close()


async def test_user_namespaces_give_the_same_walls_without_being_root(
    tmp_path: Path, api: MemoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.geteuid
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    async with running_node(tmp_path / "data", api) as node:
        monkeypatch.setattr(os, "geteuid", real)
        assert node.engine.walls.users
        await node.run(pod("p", container(script="id -u; touch /etc/mine; echo $$$$ $HOME")))
        assert (await node.logs("p")).startswith("0\n2 ")
        assert "mine" not in os.listdir("/etc")
