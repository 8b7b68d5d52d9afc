"""Extended resources: each pod has devices of its own, and nobody else has them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.memory_api import MemoryApi
from tests.engine.node import Node, container, pod, running_node

from kubeling.engine.devices import (
    GPU,
    Device,
    Devices,
    NoDevice,
    device_env,
    device_files,
    devices_of,
    find_gpus,
)
from kubeling.kube.objects import Obj, condition
from kubeling.kube.quantities import parse_quantity
from kubeling.kube.resources import NODES, PODS

SHOW = "echo $NVIDIA_VISIBLE_DEVICES $CUDA_VISIBLE_DEVICES"
HOLD = f"{SHOW}; until test -e go; do sleep 0.02; done"


@pytest.fixture
async def machine(tmp_path: Path, api: MemoryApi) -> AsyncIterator[Node]:
    """A node that was told to have two GPUs."""
    async with running_node(tmp_path / "data", api, capacity={GPU: "2"}) as node:
        yield node


def with_gpus(count: int, script: str = SHOW, name: str = "main") -> Obj:
    return container(name, script, resources={"limits": {GPU: str(count)}})


async def test_a_container_is_told_its_own_gpus(machine: Node) -> None:
    await machine.create(pod("a", with_gpus(1, HOLD)))
    await machine.running("a")
    await machine.says("a", "\n")
    await machine.run(pod("b", with_gpus(1)))
    told = {await machine.logs("a"), await machine.logs("b")}
    assert told == {"0 0\n", "1 1\n"}


async def test_a_container_without_gpus_is_told_of_none(machine: Node) -> None:
    await machine.run(pod("p", container(script="echo ${CUDA_VISIBLE_DEVICES-unset}")))
    assert await machine.logs("p") == "unset\n"


async def test_a_pod_waits_until_there_are_enough(machine: Node) -> None:
    await machine.create(pod("a", with_gpus(2, HOLD)))
    await machine.running("a")
    await machine.create(pod("b", with_gpus(1)))
    waiting = await machine.until("b", lambda p: condition(p, "PodScheduled") is not None)
    assert (why := condition(waiting, "PodScheduled")) is not None
    assert "Insufficient nvidia.com/gpu" in why.message
    (machine.engine.config.workspace / "go").touch()
    await machine.finished("b")
    assert await machine.logs("b") == "0 0\n"


async def test_devices_are_kept_over_a_crash_of_the_platform(
    tmp_path: Path, api: MemoryApi
) -> None:
    settings = {"capacity": {GPU: "2"}}
    async with running_node(tmp_path / "data", api, end_pods=False, **settings) as node:
        await node.create(pod("a", with_gpus(1, HOLD)))
        await node.running("a")
        await node.says("a", "\n")
    async with running_node(tmp_path / "data", api, **settings) as node:
        await node.run(pod("b", with_gpus(1)))
        assert {await node.logs("a"), await node.logs("b")} == {"0 0\n", "1 1\n"}


async def test_the_node_says_what_it_has(machine: Node) -> None:
    found = await machine.client.get(NODES, "kubeling")
    assert found["status"]["allocatable"][GPU] == "2"


async def test_a_deleted_pod_gives_its_devices_back(machine: Node) -> None:
    await machine.create(pod("a", with_gpus(2, HOLD)))
    await machine.running("a")
    await machine.client.delete(PODS, "a", "default", grace_period_seconds=0)
    await machine.run(pod("b", with_gpus(2)))
    assert await machine.logs("b") == "0,1 0,1\n"


# Who gets what


def test_init_containers_use_what_the_others_get_later() -> None:
    devices = devices_of({GPU: parse_quantity(4)}, [])
    sidecar = {**with_gpus(1, name="side"), "restartPolicy": "Always"}
    obj = pod(
        "p", with_gpus(1, name="a"), with_gpus(1, name="b"),
        initContainers=[sidecar, with_gpus(3, name="init")],
    )  # fmt: skip
    grant = devices.allocate("u", obj)
    assert {name: ids[GPU] for name, ids in grant.items()} == {
        "side": ["0"], "init": ["1", "2", "3"], "a": ["1"], "b": ["2"],
    }  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=20))
def test_nothing_is_handed_out_twice(steps: list[tuple[int, bool]]) -> None:
    devices, running = devices_of({GPU: parse_quantity(4)}, []), dict[str, int]()
    for number, (count, ends) in enumerate(steps):
        name = f"p{number}"
        if ends and running:
            gone = next(iter(running))
            devices.release(gone)
            del running[gone]
        fits = sum(running.values()) + count <= 4
        try:
            grant = devices.allocate(name, pod(name, with_gpus(count)))
        except NoDevice:
            assert not fits
            continue
        assert fits
        assert len(grant.get("main", {}).get(GPU, ())) == count
        running[name] = count
    held = [i for grant in devices._held.values() for ids in grant.values() for i in ids[GPU]]
    assert len(held) == len(set(held))


# What is found


def machine_with(tmp_path: Path, *uuids: str) -> list[Device]:
    dev, driver = tmp_path / "dev", tmp_path / "driver"
    dev.mkdir()
    for number, uuid in enumerate(uuids):
        (dev / f"nvidia{number}").touch()
        if uuid:
            card = driver / "gpus" / f"0000:0{number}:00.0"
            card.mkdir(parents=True)
            text = f"Model: \t\t H100\nGPU UUID: \t {uuid}\nDevice Minor: \t {number}\n"
            (card / "information").write_text(text)
    for name in ("nvidiactl", "nvidia-uvm", "null"):
        (dev / name).touch()
    return find_gpus(dev, driver)


def test_gpus_are_known_by_the_driver_s_names(tmp_path: Path) -> None:
    gpus = machine_with(tmp_path, "GPU-aa", "GPU-bb")
    assert gpus == [Device("GPU-aa", "nvidia0"), Device("GPU-bb", "nvidia1")]
    devices = Devices({GPU: gpus})
    granted = {GPU: ["GPU-bb"]}
    assert device_files(devices, granted)[:2] == ["nvidia1", "nvidiactl"]
    assert device_env(devices, granted, alone=True) == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "GPU-bb",
        "NVIDIA_VISIBLE_DEVICES": "GPU-bb",
    }


def test_without_the_driver_s_names_they_are_counted(tmp_path: Path) -> None:
    devices = Devices({GPU: machine_with(tmp_path, "", "")})
    granted = {GPU: ["1"]}
    assert device_env(devices, granted, alone=True)["CUDA_VISIBLE_DEVICES"] == "0"
    assert device_env(devices, granted, alone=False)["CUDA_VISIBLE_DEVICES"] == "1"


def test_where_files_cannot_be_hidden_variables_do(tmp_path: Path) -> None:
    devices = Devices({GPU: machine_with(tmp_path, "GPU-aa")})
    assert device_env(devices, {}, alone=False)["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert device_env(devices, {}, alone=True) == {}


def test_a_machine_without_gpus(tmp_path: Path) -> None:
    assert machine_with(tmp_path) == []
    assert json.dumps(devices_of({"cpu": parse_quantity(2)}, []).all) == "{}"
