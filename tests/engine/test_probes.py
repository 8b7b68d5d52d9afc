"""Probes decide what is ready, what has started and what is restarted."""

from tests.engine.node import Node, container, pod

from kubeling.kube.objects import Obj, is_condition_true

WAIT = "while :; do sleep 0.05; done"


def restarts(obj: Obj) -> int:
    return int((obj["status"].get("containerStatuses") or [{"restartCount": 0}])[0]["restartCount"])


async def test_a_pod_is_ready_once_its_probe_holds(node: Node) -> None:
    probe = {"exec": {"command": ["test", "-e", "ready"]}, "periodSeconds": 1}
    await node.create(pod("p", container(script=WAIT, readinessProbe=probe)))
    waiting = await node.running("p")
    assert not is_condition_true(waiting, "Ready")
    (node.engine.config.workspace / "ready").touch()
    ready = await node.until("p", lambda p: is_condition_true(p, "Ready"))
    assert ready["status"]["containerStatuses"][0]["ready"] is True


async def test_without_a_probe_a_running_container_is_ready(node: Node) -> None:
    await node.create(pod("p", container(script=WAIT)))
    await node.until("p", lambda p: is_condition_true(p, "Ready"))


async def test_a_container_that_is_not_alive_is_restarted(node: Node) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    main = container(script=WAIT, livenessProbe=probe)
    await node.create(pod("p", main, restartPolicy="Always"))
    await node.until("p", lambda p: restarts(p) == 1)
    assert "Liveness probe failed" in (await node.event("Unhealthy"))["message"]
    await node.event("Killing")


async def test_the_other_probes_wait_for_the_startup_probe(node: Node) -> None:
    startup = {
        "exec": {"command": ["test", "-e", "up"]},
        "periodSeconds": 1,
        "failureThreshold": 60,
    }
    liveness = {
        "exec": {"command": ["test", "-e", "up"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    main = container(script=WAIT, startupProbe=startup, livenessProbe=liveness)
    await node.create(pod("p", main))
    waiting = await node.running("p")
    assert waiting["status"]["containerStatuses"][0]["started"] is False
    (node.engine.config.workspace / "up").touch()
    started = await node.until("p", lambda p: is_condition_true(p, "Ready"))
    assert started["status"]["containerStatuses"][0]["started"] is True
    assert restarts(started) == 0


async def test_a_tcp_probe_by_port_name(node: Node) -> None:
    code = "import socket, time; s = socket.create_server(('', 9000)); time.sleep(60)"
    main = container(
        image="python",
        command=["python", "-c", code],
        ports=[{"name": "web", "containerPort": 9000}],
        readinessProbe={"tcpSocket": {"port": "web"}, "periodSeconds": 1},
    )
    await node.create(pod("p", main))
    await node.until("p", lambda p: is_condition_true(p, "Ready"))


async def test_an_http_probe_reports_the_status_code(node: Node) -> None:
    probe = {"httpGet": {"path": "/nope", "port": 8000}, "periodSeconds": 1}
    main = container(image="python", command=["python", "-m", "http.server", "8000"])
    await node.create(pod("p", {**main, "readinessProbe": probe}))
    unhealthy = await node.seen_event("Unhealthy", "statuscode: 404")
    assert unhealthy["type"] == "Warning"
