"""Every type of Service leads to its pods, from where that type says (Linux, as root)."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.network import ClusterNetwork, running_network

from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="pods have networks of their own as root"
)


@pytest.fixture
async def network() -> AsyncIterator[ClusterNetwork]:
    async with running_network() as running:
        yield running


async def read(host: str, port: int) -> str:
    """What this machine hears; empty where it is refused."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
        heard = (await reader.read()).decode()
    except OSError:
        return ""
    writer.close()
    return heard


async def change(network: ClusterNetwork, title: str, **spec: Any) -> Obj:
    return dict(await network.client.patch(SERVICES, title, {"spec": spec}, "default"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_node_ports_and_load_balancers_answer_at_the_machine_s_address(
    network: ClusterNetwork,
) -> None:
    await network.pods("web", "caller")
    await network.service("web")
    host = network.engine.host_ip
    found = await change(network, "web", type="NodePort")
    number = found["spec"]["ports"][0]["nodePort"]
    for address in (host, "127.0.0.1"):
        await network.becomes("web", lambda address=address: read(address, number))
    assert await network.tries("caller", f"tcp/{host}/{number}") == ["web"]
    # A balancer listens on the Service's own ports.
    port = free_port()
    ports = [{"name": "web", "port": port, "targetPort": "web"}]
    await change(network, "web", type="LoadBalancer", ports=ports)
    shown = await network.until(SERVICES, "web", "default", balanced)
    assert shown["status"]["loadBalancer"]["ingress"][0]["ip"] == host
    await network.becomes("web", lambda: read(host, port))
    # It may be for some only.
    await change(network, "web", loadBalancerSourceRanges=["198.51.100.0/24"])
    await network.becomes("", lambda: read(host, port))
    await change(network, "web", type="ClusterIP", loadBalancerSourceRanges=None)
    await network.until(SERVICES, "web", "default", lambda s: not balanced(s))


async def test_a_load_balancer_whose_port_is_taken_waits_and_says_why(
    network: ClusterNetwork,
) -> None:
    await network.pod("web")
    with socket.create_server((network.engine.host_ip, 0)) as taken:
        port = taken.getsockname()[1]
        ports = [{"name": "web", "port": port, "targetPort": "web"}]
        await network.service("web", type="LoadBalancer", ports=ports)
        found = await network.event("FailedToListen", "web")
        assert f"port {port}" in found["message"]
        await network.until(SERVICES, "web", "default", lambda s: not balanced(s))


async def test_callers_stay_with_a_pod_where_affinity_is_asked_for(
    network: ClusterNetwork,
) -> None:
    await network.pods("one", "two", "caller")
    for title in ("one", "two"):
        labels: Obj = {"metadata": {"labels": {"tier": "web"}}}
        await network.client.patch(PODS, title, labels, "default")
    address = await network.service("web", selector={"tier": "web"})
    places = [f"tcp/{address}/80"] * 6

    async def heard() -> int:
        return len(set(await network.tries("caller", *places)))

    await network.becomes(2, heard)
    await change(network, "web", sessionAffinity="ClientIP")
    await network.becomes(1, heard)


async def test_a_service_without_a_selector_leads_where_its_endpoints_say(
    network: ClusterNetwork,
) -> None:
    target, _ = await network.pods("target", "caller")
    ports = [{"name": "web", "port": 80}]
    address = await network.service("by-slice", selector=None, ports=ports)
    made = new_object(
        ENDPOINT_SLICES,
        "by-hand",
        "default",
        labels={"kubernetes.io/service-name": "by-slice"},
        addressType="IPv4",
        endpoints=[{"addresses": [target]}],
        ports=[{"name": "web", "port": 80}],
    )
    await network.client.create(ENDPOINT_SLICES, made)
    await network.becomes(["target"], lambda: network.tries("caller", f"tcp/{address}/80"))
    other = await network.service("by-endpoints", selector=None, ports=ports)
    subset = {"addresses": [{"ip": target}], "ports": [{"name": "web", "port": 81}]}
    await network.client.create(
        ENDPOINTS, new_object(ENDPOINTS, "by-endpoints", "default", subsets=[subset])
    )
    await network.becomes(["target"], lambda: network.tries("caller", f"tcp/{other}/80"))
    await network.client.delete(ENDPOINTS, "by-endpoints", "default")
    await network.becomes([""], lambda: network.tries("caller", f"tcp/{other}/80"))


def balanced(service: Obj) -> bool:
    return bool(service["status"]["loadBalancer"].get("ingress"))
