"""What each kind of probe and hook says when it fails, and what a restart is given."""

from pathlib import Path

import pytest
from tests.engine import grpc_server
from tests.engine.memory_api import MemoryApi
from tests.engine.node import Node, container, pod, running_node

from kubeling.kube.objects import Obj, condition, is_condition_true
from kubeling.kube.resources import PODS

WAIT = "while :; do sleep 0.05; done"
PORT = 9000


def served(node: Node, *arguments: int, **fields: object) -> Obj:
    """A container with a gRPC server in it."""
    source = Path(grpc_server.__file__).read_text()
    (node.engine.config.workspace / "server.py").write_text(source)
    command = ["python", "server.py", str(PORT), *map(str, arguments)]
    return container(image="python", command=command, **fields)


def grpc_probe(**action: object) -> Obj:
    found = {"grpc": {"port": PORT, **action}, "periodSeconds": 1, "timeoutSeconds": 5}
    return {**found, "failureThreshold": 2}


def main_status(obj: Obj) -> Obj:
    found: Obj = (obj["status"].get("containerStatuses") or [{"restartCount": 0}])[0]
    return found


# Kinds


async def test_a_grpc_server_that_serves_is_ready(node: Node) -> None:
    probe = grpc_probe(service="my.Model")
    await node.create(pod("p", served(node, 1, readinessProbe=probe)))
    await node.until("p", lambda p: is_condition_true(p, "Ready"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((2,), 'service unhealthy (responded with "NOT_SERVING")'),
        ((0,), 'service unhealthy (responded with "UNKNOWN")'),
        ((1, 12), "error: this server does not implement the grpc health protocol"),
        ((1, 5), "error: health rpc probe failed: no such method"),
    ],
)
async def test_a_grpc_server_that_does_not_says_why(
    node: Node, arguments: tuple[int, ...], text: str
) -> None:
    await node.create(pod("p", served(node, *arguments, readinessProbe=grpc_probe())))
    await node.seen_event("Unhealthy", f"Readiness probe failed: {text}")


@pytest.mark.parametrize(
    ("probe", "text"),
    [
        (grpc_probe(), 'timeout: failed to connect service "'),
        ({"tcpSocket": {"port": PORT}}, f":{PORT}: connect: connection refused"),
        ({"httpGet": {"port": PORT, "path": "/x"}}, f':{PORT}/x": dial tcp '),
        ({"exec": {"command": ["sh", "-c", "echo not yet; exit 1"]}}, "failed: not yet"),
        ({"exec": {"command": ["no-such-program"]}}, '"no-such-program": executable file'),
        (
            {"exec": {"command": ["sleep", "60"]}, "timeoutSeconds": 1},
            'command timed out: "sleep 60" timed out after 1s',
        ),
        ({"tcpSocket": {"port": "web"}}, 'couldn\'t find port "web"'),
    ],
)
async def test_a_probe_that_fails_says_why(node: Node, probe: Obj, text: str) -> None:
    main = container(script=WAIT, readinessProbe={"failureThreshold": 1, **probe})
    await node.create(pod("p", main))
    await node.seen_event("Unhealthy", text)


# What follows


async def test_a_probe_has_a_grace_of_its_own(node: Node) -> None:
    probe = {
        "exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1,
        "terminationGracePeriodSeconds": 1,
    }  # fmt: skip
    main = container(script=f"trap '' TERM; {WAIT}", livenessProbe=probe)
    spec = {"restartPolicy": "Always", "terminationGracePeriodSeconds": 600}
    await node.create(pod("p", main, **spec))
    again = await node.until("p", lambda p: main_status(p)["restartCount"] == 1)
    assert main_status(again)["lastState"]["terminated"]["exitCode"] == 137
    await node.seen_event("Killing", "Container main failed liveness probe, will be restarted")


async def test_a_sidecar_that_is_not_ready_keeps_the_pod_from_being_ready(node: Node) -> None:
    probe = {"exec": {"command": ["test", "-e", "ready"]}, "periodSeconds": 1}
    sidecar = container("proxy", WAIT, restartPolicy="Always", readinessProbe=probe)
    await node.create(pod("p", container(script=WAIT), initContainers=[sidecar]))
    waiting = await node.until("p", lambda p: main_status(p).get("ready"))
    assert (ready := condition(waiting, "Ready")) is not None
    assert ready.message == "containers with unready status: [proxy]"
    (node.engine.config.workspace / "ready").touch()
    await node.until("p", lambda p: is_condition_true(p, "Ready"))


async def test_what_was_ready_before_a_crash_of_the_platform_is_ready_after_it(
    tmp_path: Path, api: MemoryApi
) -> None:
    once = {"exec": {"command": ["mkdir", "probed"]}, "periodSeconds": 600}
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "echo >> hooked"]}}}
    main = container(script=WAIT, readinessProbe=once, lifecycle=hook)
    async with running_node(tmp_path / "data", api, end_pods=False) as node:
        await node.create(pod("p", main))
        await node.until("p", lambda p: is_condition_true(p, "Ready"))
    async with running_node(tmp_path / "data", api) as node:
        await node.client.patch(PODS, "p", {"metadata": {"labels": {"seen": "again"}}}, "default")
        found = await node.until("p", lambda p: "labels" in p["metadata"])
        assert is_condition_true(found, "Ready")
        assert (node.engine.config.workspace / "hooked").read_text() == "\n"


# Hooks


async def test_a_hook_that_fails_ends_the_container(node: Node) -> None:
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "echo broken; exit 3"]}}}
    done = await node.run(pod("p", container(script=WAIT, lifecycle=hook)))
    assert done["status"]["phase"] == "Failed"
    await node.seen_event("FailedPostStartHook", "broken")


async def test_a_tcp_hook_fails_when_it_is_due(node: Node) -> None:
    hook = {"postStart": {"tcpSocket": {"port": 1}}}
    await node.run(pod("p", container(script=WAIT, lifecycle=hook)))
    await node.seen_event("FailedPostStartHook", "invalid handler")


async def test_an_http_hook_asks_before_the_end(node: Node) -> None:
    server = container(
        "server", image="python", command=["python", "-u", "-m", "http.server", str(PORT)],
        lifecycle={"preStop": {"httpGet": {"path": "/bye", "port": PORT}}},
        readinessProbe={"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    )  # fmt: skip
    await node.create(pod("p", server))
    await node.until("p", lambda p: is_condition_true(p, "Ready"))
    await node.client.delete(PODS, "p", "default")
    await node.says("p", "GET /bye")
    await node.gone("p")


async def test_a_hook_that_pauses_holds_the_signal_back(node: Node) -> None:
    script = "trap 'echo signalled; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    main = container(script=script, lifecycle={"preStop": {"sleep": {"seconds": 1}}})
    await node.create(pod("p", main))
    await node.running("p")
    await node.says("p", "up")
    await node.client.delete(PODS, "p", "default")
    await node.says("p", "signalled")
    await node.gone("p")


async def test_after_a_hook_that_takes_all_the_grace_there_is_still_a_signal(node: Node) -> None:
    script = "trap 'echo signalled; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    main = container(script=script, lifecycle={"preStop": {"exec": {"command": ["sleep", "60"]}}})
    await node.create(pod("p", main, terminationGracePeriodSeconds=1))
    await node.running("p")
    await node.says("p", "up")
    await node.client.delete(PODS, "p", "default")
    await node.says("p", "signalled")
    await node.gone("p")


async def test_a_container_is_stopped_with_the_signal_it_names(node: Node) -> None:
    script = "trap 'echo usr1; exit 0' USR1; echo up; while :; do sleep 0.05; done"
    main = container(script=script, lifecycle={"stopSignal": "SIGUSR1"})
    await node.create(pod("p", main))
    await node.running("p")
    await node.says("p", "up")
    await node.client.delete(PODS, "p", "default")
    await node.says("p", "usr1")
    await node.gone("p")
