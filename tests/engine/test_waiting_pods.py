"""Pods that cannot run yet say what they wait for, and run as soon as it is there."""

from pathlib import Path

from tests.engine.memory_api import MemoryApi
from tests.engine.node import Node, container, pod, running_node

from kubeling.kube.objects import Obj, condition
from kubeling.kube.resources import NODES, PODS


def waits_for(reason: str):  # type: ignore[no-untyped-def]
    def holds(obj: Obj) -> bool:
        statuses = obj["status"].get("containerStatuses") or [{"state": {}}]
        return statuses[0]["state"].get("waiting", {}).get("reason") == reason

    return holds


def message(obj: Obj) -> str:
    return obj["status"]["containerStatuses"][0]["state"]["waiting"]["message"]


async def test_an_unknown_image_says_what_to_write_where(node: Node) -> None:
    await node.create(pod("p", container(image="mycustom-ml-image:1", command=["true"])))
    waiting = await node.until("p", waits_for("ErrImagePull"))
    assert str(node.engine.config.images_file) in message(waiting)
    assert '"mycustom-ml-image": {host: true}' in message(waiting)
    assert waiting["status"]["phase"] == "Pending"


async def test_a_missing_config_map_is_named_and_waited_for(node: Node) -> None:
    main = container(script="echo $A", envFrom=[{"configMapRef": {"name": "later"}}])
    await node.create(pod("p", main))
    waiting = await node.until("p", waits_for("CreateContainerConfigError"))
    assert message(waiting) == 'configmap "later" not found'
    await node.config_map("later", A="there")
    await node.finished("p")
    assert await node.logs("p") == "there\n"


async def test_a_missing_key_is_named(node: Node) -> None:
    await node.secret("s", a="1")
    reference = {"secretKeyRef": {"name": "s", "key": "b"}}
    await node.create(
        pod("p", container(script="true", env=[{"name": "B", "valueFrom": reference}]))
    )
    waiting = await node.until("p", waits_for("CreateContainerConfigError"))
    assert message(waiting) == "couldn't find key b in secret default/s"


async def test_a_volume_of_a_missing_secret_is_waited_for(node: Node) -> None:
    main = container(script="cat /s/key", volumeMounts=[{"name": "s", "mountPath": "/s"}])
    await node.create(pod("p", main, volumes=[{"name": "s", "secret": {"secretName": "s"}}]))
    assert 'secret "s" not found' in (await node.event("FailedMount"))["message"]
    await node.secret("s", key="value")
    await node.finished("p")
    assert await node.logs("p") == "value"


async def test_a_pod_that_wants_a_gpu_waits_and_says_so(node: Node) -> None:
    main = container(script="true", resources={"limits": {"nvidia.com/gpu": 1}})
    await node.create(pod("p", main))
    waiting = await node.until("p", lambda p: condition(p, "PodScheduled"))
    scheduled = condition(waiting, "PodScheduled")
    assert scheduled is not None
    assert scheduled.reason == "Unschedulable"
    assert scheduled.message == (
        "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are "
        "available: 1 Preemption is not helpful for scheduling."
    )
    assert (await node.event("FailedScheduling"))["message"] == scheduled.message


async def test_a_pod_takes_the_place_of_one_that_ends(tmp_path: Path, api: MemoryApi) -> None:
    gpu = {"limits": {"nvidia.com/gpu": 1}}
    async with running_node(tmp_path / "data", api, capacity={"nvidia.com/gpu": "1"}) as node:
        await node.create(
            pod("a", container(script="while ! test -e go; do sleep 0.05; done", resources=gpu))
        )
        await node.running("a")
        await node.create(pod("b", container(script="true", resources=gpu)))
        await node.until("b", lambda p: condition(p, "PodScheduled"))
        (node.engine.config.workspace / "go").touch()
        assert (await node.finished("b"))["status"]["phase"] == "Succeeded"


async def test_an_important_pod_takes_the_place_of_another(tmp_path: Path, api: MemoryApi) -> None:
    gpu = {"limits": {"nvidia.com/gpu": 1}}
    async with running_node(tmp_path / "data", api, capacity={"nvidia.com/gpu": "1"}) as node:
        await node.create(pod("low", container(script="sleep 600", resources=gpu), priority=1))
        await node.running("low")
        await node.create(pod("high", container(script="true", resources=gpu), priority=9))
        nominated = await node.until("high", lambda p: p["status"].get("nominatedNodeName"))
        assert nominated["status"]["nominatedNodeName"] == "kubeling"
        told = await node.event("Preempted")
        assert told["involvedObject"]["name"] == "low"
        assert told["source"]["component"] == "default-scheduler"
        assert (await node.finished("high"))["status"]["phase"] == "Succeeded"
        await node.gone("low")


async def test_a_pod_of_another_scheduler_is_left_alone(node: Node) -> None:
    await node.create(pod("theirs", container(script="true"), schedulerName="volcano"))
    await node.run(pod("ours", container(script="true")))
    theirs = await node.client.get(PODS, "theirs", "default")
    assert theirs["status"] == {"phase": "Pending"}


async def test_a_node_selector_nobody_matches(node: Node) -> None:
    await node.create(pod("p", container(script="true"), nodeSelector={"disk": "ssd"}))
    waiting = await node.until("p", lambda p: condition(p, "PodScheduled"))
    scheduled = condition(waiting, "PodScheduled")
    assert scheduled is not None
    assert "didn't match Pod's node affinity/selector" in scheduled.message


async def test_a_cordoned_node_takes_no_pods_until_it_is_uncordoned(node: Node) -> None:
    await node.client.patch(NODES, "kubeling", {"spec": {"unschedulable": True}})
    await node.seen(NODES, lambda n: n["spec"].get("unschedulable"))
    await node.create(pod("p", container(script="true")))
    await node.until("p", lambda p: condition(p, "PodScheduled"))
    await node.client.patch(NODES, "kubeling", {"spec": {"unschedulable": None}})
    assert (await node.finished("p"))["status"]["phase"] == "Succeeded"


async def test_a_container_without_command_says_so(node: Node) -> None:
    await node.create(pod("p", container(image="kubeling/tools")))
    waiting = await node.until("p", waits_for("CreateContainerError"))
    assert "set command" in message(waiting)


async def test_a_user_entry_makes_an_unknown_image_known(node: Node) -> None:
    node.engine.config.images_file.write_text('"mine": {host: true, cmd: [echo, known]}\n')
    await node.run(pod("p", container(image="registry.example.com/mine:3")))
    assert await node.logs("p") == "known\n"


async def test_a_wrong_user_entry_names_file_and_field(node: Node) -> None:
    node.engine.config.images_file.write_text('"mine": {hots: true}\n')
    await node.create(pod("p", container(image="mine")))
    waiting = await node.until("p", waits_for("ErrImagePull"))
    assert "images.yaml" in message(waiting)
    assert "hots" in message(waiting)
