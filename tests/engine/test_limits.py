"""Limits on memory and CPU hold: by control groups, and by the supervisor where there are none."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engine.memory_api import MemoryApi
from tests.engine.node import Node, container, pod, running_node

from kubeling.engine.cgroups import Bounds, Cgroups, bounds_of
from kubeling.engine.engine import Engine

GREEDY = "held = []\nfor _ in range(64): held.append(bytearray(8 << 20))\nprint('has it all')"


def python(program: str, **resources: dict[str, str]) -> dict[str, object]:
    command = ["python", "-c", program]
    return container(image="python", command=command, resources=resources)


def needs(engine: Engine, resource: str) -> None:
    if resource not in engine.cgroups.branches:
        pytest.skip(f"this machine has no control groups for {resource}")


@pytest.fixture(params=["by control groups", "by supervisors"])
async def any_way(
    request: pytest.FixtureRequest, tmp_path: Path, api: MemoryApi
) -> AsyncIterator[Node]:
    grouped = request.param == "by control groups"
    async with running_node(tmp_path / "data", api, isolation=grouped) as node:
        if grouped:
            needs(node.engine, "memory")
        yield node


async def test_a_container_that_takes_more_memory_than_its_limit_is_killed(any_way: Node) -> None:
    done = await any_way.run(pod("p", python(GREEDY, limits={"memory": "128Mi"})))
    ended = done["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")
    assert done["status"]["phase"] == "Failed"


async def test_a_container_within_its_limit_is_left_alone(any_way: Node) -> None:
    done = await any_way.run(pod("p", python(GREEDY, limits={"memory": "1Gi"})))
    assert done["status"]["phase"] == "Succeeded"


async def test_a_limit_on_cpu_slows_a_container_down(node: Node) -> None:
    needs(node.engine, "cpu")
    burn = (
        "import time\nend = time.monotonic() + 1\nwhile time.monotonic() < end: pass\n"
        "print(time.process_time())"
    )
    await node.run(pod("p", python(burn, limits={"cpu": "200m"})))
    assert float(await node.logs("p")) < 0.6


async def test_a_killed_container_by_a_signal_did_not_run_out_of_memory(node: Node) -> None:
    main = container(script="kill -9 $$$$", resources={"limits": {"memory": "64Mi"}})
    done = await node.run(pod("p", main))
    ended = done["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")


async def test_nothing_of_an_ended_container_s_group_is_left(node: Node) -> None:
    await node.run(pod("p", container(script="true", resources={"limits": {"cpu": "1"}})))
    for branch in node.engine.cgroups.branches.values():
        assert [entry for entry in branch.iterdir() if entry.is_dir()] == []


def test_bounds_are_read_as_kubernetes_means_them() -> None:
    resources = {"limits": {"memory": "1Gi", "cpu": "1500m"}, "requests": {"cpu": "0.25"}}
    assert bounds_of({"resources": resources}) == Bounds(1 << 30, 1500, 250)
    assert bounds_of({"resources": {"limits": {"cpu": 2}}}) == Bounds(0, 2000, 2000)
    assert not bounds_of({})


def test_version_2_settings(tmp_path: Path) -> None:
    branch = tmp_path / "kubeling"
    group = branch / "p"
    group.mkdir(parents=True)
    limits = Cgroups({"memory": branch, "cpu": branch}, unified=True).limit(
        "p", Bounds(memory=1 << 30, cpu=1500, cpu_request=1000)
    )
    assert limits == {
        "join": [str(group / "cgroup.procs")],
        "events": str(group / "memory.events"),
        "memory": 0,
    }
    assert {file.name: file.read_text() for file in group.iterdir()} == {
        "memory.max": "1073741824",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "cpu.max": "150000 100000",
        "cpu.weight": "39",
    }


def test_version_1_settings(tmp_path: Path) -> None:
    memory, cpu = tmp_path / "memory", tmp_path / "cpu"
    (memory / "p").mkdir(parents=True)
    (cpu / "p").mkdir(parents=True)
    Cgroups({"memory": memory, "cpu": cpu}, unified=False).limit("p", Bounds(1 << 20, 500, 100))
    assert {file.name: file.read_text() for file in (cpu / "p").iterdir()} == {
        "cpu.cfs_quota_us": "50000",
        "cpu.shares": "102",
    }
    assert (memory / "p" / "memory.limit_in_bytes").read_text() == "1048576"
