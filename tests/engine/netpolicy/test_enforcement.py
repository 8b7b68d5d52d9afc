"""NetworkPolicies hold between pods that have networks of their own (Linux, as root)."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.network import ClusterNetwork, running_network

from kubeling.engine.netpolicy.report import NOT_ENFORCED
from kubeling.kube.objects import Obj, annotations, new_object
from kubeling.kube.resources import NAMESPACES, NETWORK_POLICIES, PODS

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="pods have networks of their own as root"
)


@pytest.fixture
async def network() -> AsyncIterator[ClusterNetwork]:
    async with running_network() as running:
        yield running


def policy(title: str, about: str = "", where: str = "default", **spec: Any) -> Obj:
    selector = {"matchLabels": {"app": about}} if about else {}
    return new_object(NETWORK_POLICIES, title, where, spec={"podSelector": selector, **spec})


def pods(app: str) -> Obj:
    return {"podSelector": {"matchLabels": {"app": app}}}


async def test_a_pod_is_reached_by_those_its_policies_name(network: ClusterNetwork) -> None:
    await network.namespace("other", team="red")
    server, *_ = await network.pods("server", "friend", "stranger")
    await network.pod("friend", "other")
    places = [f"tcp/{server}/80", f"tcp/{server}/81", f"udp/{server}/53"]

    async def heard() -> list[list[str]]:
        callers = (("friend", "default"), ("stranger", "default"), ("friend", "other"))
        return [await network.tries(pod, *places, where=where) for pod, where in callers]

    everything = ["server", "server", "?"]
    assert await heard() == [everything] * 3
    # Nobody: being selected for Ingress isolates.
    await network.client.create(NETWORK_POLICIES, policy("none", "server"))
    await network.becomes([["", "", ""]] * 3, heard)
    # A peer and a port by its name on the pod; policies add up.
    rule = {"from": [pods("friend")], "ports": [{"port": "web"}]}
    await network.client.create(NETWORK_POLICIES, policy("friends", "server", ingress=[rule]))
    await network.becomes([["server", "", ""], ["", "", ""], ["", "", ""]], heard)
    # Namespaces by label, a range of ports, another protocol.
    wide = {
        "from": [{"namespaceSelector": {"matchLabels": {"team": "red"}}, **pods("friend")}],
        "ports": [{"port": 81, "endPort": 90}, {"port": 53, "protocol": "UDP"}],
    }
    await network.client.create(NETWORK_POLICIES, policy("wide", "server", ingress=[wide]))
    await network.becomes([["server", "", ""], ["", "", ""], ["", "server", "?"]], heard)
    # Labels count as they are now, of the namespace and of the pod.
    relabel: Obj = {"metadata": {"labels": {"team": "blue"}}}
    await network.client.patch(NAMESPACES, "other", relabel)
    relabel = {"metadata": {"labels": {"app": "friend"}}}
    await network.client.patch(PODS, "stranger", relabel, "default")
    await network.becomes([["server", "", ""], ["server", "", ""], ["", "", ""]], heard)
    for title in ("none", "friends", "wide"):
        await network.client.delete(NETWORK_POLICIES, title, "default")
    await network.becomes([everything] * 3, heard)


async def test_services_and_names_are_judged_by_the_pods_behind(network: ClusterNetwork) -> None:
    await network.pods("web", "shop", "caller")
    web, shop = await network.service("web"), await network.service("shop")
    places = [f"tcp/{web}/80", f"udp/{web}/53", f"tcp/{shop}/80", "tcp/web/80"]

    async def heard() -> list[str]:
        return await network.tries("caller", *places)

    await network.becomes(["web", "?", "shop", "web"], heard)
    # Ingress of the pods behind a Service.
    await network.client.create(NETWORK_POLICIES, policy("closed", "web"))
    await network.becomes(["", "", "shop", ""], heard)
    only = policy("only", "web", ingress=[{"from": [pods("caller")], "ports": [{"port": 80}]}])
    await network.client.create(NETWORK_POLICIES, only)
    await network.becomes(["web", "", "shop", "web"], heard)
    # Egress of the caller: not to names, unless it says so as it would on any cluster.
    rule = {"to": [pods("web")], "ports": [{"port": "web"}]}
    egress = policy("egress", "caller", policyTypes=["Egress"], egress=[rule])
    await network.client.create(NETWORK_POLICIES, egress)
    await network.becomes(["web", "", "", ""], heard)
    dns = {
        "to": [
            {
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": "kube-system"}
                },
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ],
        "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}],
    }
    names = policy("names", "caller", policyTypes=["Egress"], egress=[dns])
    await network.client.create(NETWORK_POLICIES, names)
    await network.becomes(["web", "", "", "web"], heard)


async def test_a_service_leads_only_to_pods_the_caller_may_reach(network: ClusterNetwork) -> None:
    await network.pods("one", "two", "caller")
    for title in ("one", "two"):
        await network.client.patch(
            PODS, title, {"metadata": {"labels": {"tier": "web"}}}, "default"
        )
    address = await network.service("web", selector={"tier": "web"})
    place = f"tcp/{address}/80"

    async def heard() -> set[str]:
        return set(await network.tries("caller", *[place] * 6))

    await network.becomes({"one", "two"}, heard)
    await network.client.create(NETWORK_POLICIES, policy("one", "one"))
    await network.becomes({"two"}, heard)


async def test_a_pod_is_held_from_its_first_moment(network: ClusterNetwork) -> None:
    server = await network.pod("server")
    out = policy("out", "eager", policyTypes=["Egress"])
    await network.client.create(NETWORK_POLICIES, out)
    script = f"""
import socket
try:
    socket.create_connection(("{server}", 80), 10); print("through ready")
except OSError as error: print(error, "ready")
"""
    await network.pod("eager", script=script, restartPolicy="Never")
    await network.says("eager", "No route to host ready")


async def test_connections_that_exist_go_on(network: ClusterNetwork) -> None:
    talk = """
import socket
with socket.create_server(("", 80)) as listener:
    print("ready", flush=True)
    caller = listener.accept()[0]
    while data := caller.recv(99): caller.sendall(data)
"""
    server = await network.pod("server", script=talk)
    ask = f"""
import socket, time
with socket.create_connection(("{server}", 80)) as channel:
    print("ready", flush=True)
    while True:
        channel.sendall(b"?"); print(channel.recv(9).decode(), flush=True)
        time.sleep(0.05)
"""
    await network.pod("caller", script=ask)
    closed = policy("all", policyTypes=["Ingress", "Egress"])
    await network.client.create(NETWORK_POLICIES, closed)
    await network.becomes([""], lambda: network.tries("caller", f"tcp/{server}/80"))
    await network.says("caller", "?\n" * (await said(network, "caller")).count("?") + "?\n?\n")


async def said(network: ClusterNetwork, pod: str) -> str:
    pieces = [piece async for piece in network.engine.node_api.logs("default", pod)]
    return b"".join(pieces).decode()


async def test_the_node_a_pod_itself_and_probes_are_never_kept_out(network: ClusterNetwork) -> None:
    every = policy("nothing", policyTypes=["Ingress", "Egress"])
    await network.client.create(NETWORK_POLICIES, every)
    # The pod would not become ready if its probe were refused.
    probe = {"tcpSocket": {"port": 80}, "periodSeconds": 1}
    own = await network.pod("alone", main={"readinessProbe": probe})
    await network.until(PODS, "alone", "default", is_ready)
    await network.service("alone")
    assert await network.tries("alone", f"tcp/{own}/80", "tcp/127.0.0.1/80") == ["alone", "alone"]
    reader, writer = await asyncio.open_connection(own, 80)
    assert await reader.read() == b"alone"
    writer.close()
    server = await asyncio.start_server(lambda _, w: w.close(), network.engine.host_ip, 0)
    port = server.sockets[0].getsockname()[1]
    assert await network.tries("alone", f"tcp/{network.engine.host_ip}/{port}") == ["nothing"]
    server.close()


async def test_blocks_of_addresses_and_their_exceptions(network: ClusterNetwork) -> None:
    first, second, _ = await network.pods("first", "second", "caller")
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": [f"{second}/32"]}}
    rule = {"to": [block]}
    await network.client.create(
        NETWORK_POLICIES, policy("blocks", "caller", policyTypes=["Egress"], egress=[rule])
    )
    await network.becomes(
        ["first", ""], lambda: network.tries("caller", f"tcp/{first}/80", f"tcp/{second}/80")
    )


async def test_rules_stay_while_the_platform_is_away(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running_network(data, end_pods=False) as network:
        server, _ = await network.pods("server", "watcher")
        await network.client.create(NETWORK_POLICIES, policy("closed", "server"))
        await network.becomes([""], lambda: network.tries("watcher", f"tcp/{server}/80"))
        # Tries while nobody is there, and tells afterwards.
        watch = f"""
import socket, time
print("ready", flush=True)
while True:
    try: socket.create_connection(("{server}", 80), 1); print("through", flush=True)
    except OSError: print("refused", flush=True)
    time.sleep(0.02)
"""
        await network.pod("prober", script=watch)
    async with running_network(data) as network:
        tries = (await said(network, "prober")).count("refused")
        await network.says("prober", "refused\n" * (tries + 5))
        assert "through" not in await said(network, "prober")
        await network.client.delete(NETWORK_POLICIES, "closed", "default")
        await network.becomes(["server"], lambda: network.tries("watcher", f"tcp/{server}/80"))


async def test_a_network_used_again_has_no_rules_of_the_last_pod(network: ClusterNetwork) -> None:
    await network.client.create(NETWORK_POLICIES, policy("closed", "first"))
    server, _ = await network.pods("first", "caller")
    place = f"tcp/{server}/80"
    assert await network.tries("caller", place) == [""]
    await network.client.delete(PODS, "first", "default")
    for number in range(40):
        if await network.pod(f"next{number}") == server:
            assert await network.tries("caller", place) == [f"next{number}"]
            return
    raise AssertionError("no pod was given the network again")


async def test_pods_on_the_machine_s_network_are_told_that_they_are_not_held(
    network: ClusterNetwork,
) -> None:
    await network.client.create(NETWORK_POLICIES, policy("all"))
    await network.pod("open", script="print('ready', flush=True)", hostNetwork=True)
    found = await network.event("NetworkPolicyNotEnforced", "open")
    assert "hostNetwork" in found["message"]


async def test_without_networks_of_pods_it_is_said_that_nothing_is_enforced() -> None:
    async with running_network(pod_networks=False) as network:
        await network.pod("open", script="print('ready', flush=True)")
        await network.client.create(NETWORK_POLICIES, policy("all"))
        for about in ("all", "open"):
            found = await network.event("NetworkPolicyNotEnforced", about)
            assert "machine's network" in found["message"]
        await network.until(
            NETWORK_POLICIES, "all", "default", lambda p: annotations(p).get(NOT_ENFORCED)
        )


def is_ready(found: Obj) -> bool:
    conditions = (found.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
