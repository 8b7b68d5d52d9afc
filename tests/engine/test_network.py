"""Pods' own addresses (Linux, as root)."""

import asyncio
import socket
from pathlib import Path

from tests.engine.memory_api import MemoryApi
from tests.engine.node import Node, container, pod, running_node

from kubeling.engine.net.netlink import Route
from kubeling.kube.objects import Obj
from kubeling.kube.resources import PODS

SERVE = (
    "import http.server as h\n"
    "class H(h.BaseHTTPRequestHandler):\n"
    "  def do_GET(s): s.send_response(200); s.end_headers(); s.wfile.write(b'ok')\n"
    "h.HTTPServer(('0.0.0.0', 8080), H).serve_forever()"
)


def server(**fields: object) -> dict[str, object]:
    ready = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    return container(
        image="python", command=["python", "-c", SERVE], readinessProbe=ready, **fields
    )


async def ready(node: Node, name: str) -> str:
    found = await node.until(
        name, lambda p: any(s["ready"] for s in p["status"].get("containerStatuses") or ())
    )
    return str(found["status"]["podIP"])


async def get(address: str) -> bytes:
    reader, writer = await asyncio.open_connection(address, 8080)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.rpartition(b"\r\n")[2]


async def test_pods_listen_on_the_same_port_side_by_side(node: Node) -> None:
    for name in ("a", "b"):
        await node.create(pod(name, server()))
    addresses = {await ready(node, name) for name in ("a", "b")}
    assert len(addresses) == 2
    assert [await get(address) for address in addresses] == [b"ok", b"ok"]


async def test_pods_reach_each_other_and_the_machine(node: Node) -> None:
    await node.create(pod("a", server()))
    address = await ready(node, "a")
    with socket.create_server((node.engine.host_ip, 0)) as listening:
        port = listening.getsockname()[1]
        script = (
            "import socket, urllib.request as u;"
            f"print(u.urlopen('http://{address}:8080').read().decode());"
            f"socket.create_connection(('{node.engine.host_ip}', {port})); print('machine')"
        )
        await node.run(pod("b", container(image="python", command=["python", "-c", script])))
    assert await node.logs("b") == "ok\nmachine\n"


async def test_the_machine_s_network_where_asked_for(node: Node) -> None:
    main = container(script="ls /sys/class/net | grep -c kl")
    done = await node.run(pod("p", main, hostNetwork=True))
    assert done["status"]["podIP"] == node.engine.host_ip


async def test_two_instances_do_not_meet(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path / "one" / "data", MemoryApi()) as one,
        running_node(tmp_path / "two" / "data", MemoryApi()) as two,
    ):
        assert one.engine.host_ip != two.engine.host_ip
        done = [await n.run(pod("p", container(script="true"))) for n in (one, two)]
        assert done[0]["status"]["podIP"] != done[1]["status"]["podIP"]


async def test_the_way_out_stays_the_same_as_pods_come_and_go(node: Node) -> None:
    assert node.engine.networks is not None
    bridge = Path("/sys/class/net") / node.engine.networks.subnet.bridge
    first = (bridge / "address").read_text()
    for number in range(8):
        await node.create(pod(f"p{number}", container(script="sleep 60")))
    for number in range(8):
        await node.until(f"p{number}", lambda p: p["status"].get("phase") == "Running")
    assert (bridge / "address").read_text() == first
    # The kernel changes only what nobody has set.
    assert (bridge / "addr_assign_type").read_text() == "3\n"


async def test_pods_have_addresses_of_their_own_after_a_regular_stop(tmp_path: Path) -> None:
    api, data_dir, sleeps = MemoryApi(), tmp_path / "data", container(script="sleep 60")
    async with running_node(data_dir, api) as node:
        # The first address is free again, and a later pod's.
        for name in ("first", "p0"):
            await node.create(pod(name, sleeps, restartPolicy="Always"))
            await node.running(name)
        await node.client.delete(PODS, "first", "default", grace_period_seconds=0)
        await node.gone("first")
        for number in range(1, 8):
            await node.create(pod(f"p{number}", sleeps, restartPolicy="Always"))
            await node.running(f"p{number}")
    async with running_node(data_dir, api) as node:
        pods = [await node.until(f"p{n}", runs_again) for n in range(8)]
        assert len({found["status"]["podIP"] for found in pods}) == len(pods)


def runs_again(found: Obj) -> bool:
    statuses = found["status"].get("containerStatuses") or ()
    return any(s["restartCount"] and "running" in s["state"] for s in statuses)


async def test_nothing_of_the_network_is_left_behind(tmp_path: Path) -> None:
    async with running_node(tmp_path / "data", MemoryApi()) as node:
        await node.run(pod("p", container(script="true")))
        bridge = node.engine.networks.subnet.bridge  # type: ignore[union-attr]
        assert Route().exists(bridge)
    assert not Route().exists(bridge)
    assert list((tmp_path / "data" / "engine" / "net").iterdir()) == []
    assert str(tmp_path) not in mounts()


def mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()
