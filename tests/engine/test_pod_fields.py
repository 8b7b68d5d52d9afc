"""Fields of pods that have no subject of their own."""

import itertools
from pathlib import Path

from tests.engine.memory_api import MemoryApi
from tests.engine.node import Node, container, pod, running_node

from kubeling.kube.objects import Obj, condition, is_condition_true
from kubeling.kube.resources import PODS
from kubeling.kube.transport import Request

WAIT = "until test -e go; do sleep 0.02; done"


class Issuer(MemoryApi):
    """An API that issues another token each time."""

    def __init__(self) -> None:
        super().__init__()
        self._serial = itertools.count(1)

    async def send(self, request: Request) -> Obj:
        answer = await super().send(request)
        if request.path.endswith("/token"):
            answer["status"]["token"] = f"token-{next(self._serial)}"
        return answer


async def test_tokens_are_renewed_before_they_expire(tmp_path: Path) -> None:
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 1}}
    volumes = [{"name": "v", "projected": {"sources": [source]}}]
    script = "cat /v/token; until grep -q token-2 /v/token; do sleep 0.05; done"
    main = container(script=script, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    async with running_node(tmp_path / "data", Issuer()) as node:
        done = await node.run(pod("p", main, volumes=volumes))
        assert done["status"]["phase"] == "Succeeded"
        assert await node.logs("p") == "token-1"


async def test_a_readiness_gate_is_opened_by_somebody_else(node: Node) -> None:
    gates = [{"conditionType": "example.com/ready"}]
    await node.create(pod("p", container(script=WAIT), readinessGates=gates))
    waiting = await node.until("p", lambda p: is_condition_true(p, "ContainersReady"))
    assert (ready := condition(waiting, "Ready")) is not None
    assert (ready.status, ready.reason) == ("False", "ReadinessGatesNotReady")
    conditions = [*waiting["status"]["conditions"], {"type": "example.com/ready", "status": "True"}]
    await node.client.patch_status(PODS, "p", {"conditions": conditions}, "default")
    opened = await node.until("p", lambda p: is_condition_true(p, "Ready"))
    assert is_condition_true(opened, "example.com/ready")


async def test_the_termination_message_is_read_where_the_container_says(node: Node) -> None:
    main = container(
        script="echo why > /var/run/why; exit 1", terminationMessagePath="/var/run/why"
    )
    done = await node.run(pod("p", main))
    ended = done["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["message"] == "why\n"


async def test_a_termination_message_is_cut(node: Node) -> None:
    script = "head -c 5000 /dev/zero | tr '\\0' x > /dev/termination-log; exit 1"
    done = await node.run(pod("p", container(script=script)))
    ended = done["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["message"] == "x" * 4096


async def test_conditions_tell_how_far_the_start_is(node: Node) -> None:
    init = container("init", WAIT)
    await node.create(pod("p", container(script=WAIT), initContainers=[init]))
    starting = await node.until(
        "p",
        lambda p: (
            "running" in (p["status"].get("initContainerStatuses") or [{"state": {}}])[0]["state"]
        ),
    )
    assert is_condition_true(starting, "PodReadyToStartContainers")
    assert (initialized := condition(starting, "Initialized")) is not None
    assert initialized.message == "containers with incomplete status: [init]"
    assert await node.logs("p", "init") == ""
    (node.engine.config.workspace / "go").touch()
    await node.finished("p")


async def test_a_pod_without_service_links_knows_no_services(node: Node) -> None:
    main = container(script="env | grep -c SERVICE_HOST")
    await node.run(pod("p", main, enableServiceLinks=False))
    assert await node.logs("p") == "0\n"


async def test_a_sidecar_s_restart_does_not_disturb_the_main_container(node: Node) -> None:
    sidecar = container("side", "test -e again && exec sleep 60; touch again; exit 1",
                        restartPolicy="Always")  # fmt: skip
    main = container(script="until test -e again; do sleep 0.02; done; sleep 0.1")
    done = await node.run(pod("p", main, initContainers=[sidecar]))
    assert done["status"]["phase"] == "Succeeded"
    assert done["status"]["containerStatuses"][0]["restartCount"] == 0
    assert done["status"]["initContainerStatuses"][0]["restartCount"] >= 1


async def test_sidecars_get_what_is_left_of_the_grace(node: Node) -> None:
    stubborn = f"trap '' TERM; echo up; {WAIT}"
    sidecar = container("side", stubborn, restartPolicy="Always")
    main = container(script="trap 'exit 0' TERM; while :; do sleep 0.02; done")
    spec = {"initContainers": [sidecar], "terminationGracePeriodSeconds": 1}
    await node.create(pod("p", main, **spec))
    await node.running("p")
    await node.client.delete(PODS, "p", "default")
    await node.gone("p")


def _initialising(obj: Obj) -> bool:
    statuses = obj["status"].get("initContainerStatuses") or [{"state": {}}]
    return "running" in statuses[0]["state"]
