"""What the server gives Services, and what it refuses them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.apiserver import running_server

from kubeling.kube.client import Client
from kubeling.kube.errors import Invalid
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import SERVICES


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with running_server(data_dir=tmp_path, service_cidr="10.96.0.0/24") as running:
        yield running.client


def service(title: str = "web", **spec: Any) -> Obj:
    return new_object(SERVICES, title, "default", spec={"ports": [{"port": 80}], **spec})


async def refusal(client: Client, made: Obj) -> str:
    with pytest.raises(Invalid) as refused:
        await client.create(SERVICES, made)
    return str(refused.value)


async def spec_of(client: Client, made: Obj) -> Obj:
    found: Obj = (await client.create(SERVICES, made))["spec"]
    return found


async def test_a_service_is_single_stack_ipv4_with_an_address(client: Client) -> None:
    spec = await spec_of(client, service())
    assert spec["clusterIP"].startswith("10.96.0.")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    assert "not configured on this cluster" in await refusal(
        client, service("six", ipFamilies=["IPv6"])
    )
    assert "this cluster is not configured for dual-stack services" in await refusal(
        client, service("both", ipFamilyPolicy="RequireDualStack")
    )


async def test_addresses_and_node_ports_are_nobody_else_s(client: Client) -> None:
    ports = [{"port": 80, "nodePort": 30080}]
    first = await spec_of(client, service("a", type="NodePort", ports=ports))
    assert "provided IP is already allocated" in await refusal(
        client, service("b", clusterIP=first["clusterIP"])
    )
    assert "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated" in (
        await refusal(client, service("b", type="NodePort", ports=ports))
    )
    await client.delete(SERVICES, "a", "default")
    again = await spec_of(
        client, service("b", type="NodePort", ports=ports, clusterIP=first["clusterIP"])
    )
    assert again["ports"][0]["nodePort"] == 30080


async def test_node_ports_come_from_their_range(client: Client) -> None:
    given = await spec_of(client, service(type="NodePort"))
    assert 30000 <= given["ports"][0]["nodePort"] <= 32767
    assert "The range of valid ports is 30000-32767" in await refusal(
        client, service("b", type="NodePort", ports=[{"port": 80, "nodePort": 80}])
    )
    assert "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'" in (
        await refusal(client, service("b", ports=[{"port": 80, "nodePort": 30081}]))
    )


async def test_the_same_port_of_two_protocols_is_one_node_port(client: Client) -> None:
    ports = [{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]
    given = await spec_of(client, service(type="NodePort", ports=ports))
    assert len({port["nodePort"] for port in given["ports"]}) == 1


async def test_a_service_may_change_its_type(client: Client) -> None:
    first = await spec_of(client, service(type="NodePort", externalTrafficPolicy="Local"))

    async def change(**spec: Any) -> Obj:
        found = await client.patch(SERVICES, "web", {"spec": spec}, "default")
        return dict(found["spec"])

    inner = await change(type="ClusterIP")
    assert "nodePort" not in inner["ports"][0]
    assert "externalTrafficPolicy" not in inner
    assert inner["clusterIP"] == first["clusterIP"]
    outer = await change(type="ExternalName", externalName="example.com")
    assert not {"clusterIP", "clusterIPs", "ipFamilies"} & outer.keys()
    balanced = await change(type="LoadBalancer", externalName=None)
    assert balanced["allocateLoadBalancerNodePorts"] is True
    assert 30000 <= balanced["ports"][0]["nodePort"] <= 32767
    assert balanced["clusterIP"].startswith("10.96.0.")
    assert "allocateLoadBalancerNodePorts" not in await change(type="ClusterIP")


async def test_a_load_balancer_may_do_without_node_ports(client: Client) -> None:
    spec = await spec_of(client, service(type="LoadBalancer", allocateLoadBalancerNodePorts=False))
    assert "nodePort" not in spec["ports"][0]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"externalIPs": ["127.0.0.1"]}, "may not be in the loopback range"),
        ({"externalIPs": ["here"]}, "must be a valid IP address"),
        ({"loadBalancerSourceRanges": ["10.0.0.0/8"]}, "`type` is 'LoadBalancer'"),
        ({"externalTrafficPolicy": "Local"}, "may only be set for externally-accessible services"),
        ({"type": "ExternalName", "externalName": "A_b"}, "RFC 1123 subdomain"),
        ({"type": "NodePort", "clusterIP": "None"}, "may not be set to 'None' for NodePort"),
        (
            {
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}},
            },
            "must be greater than 0 and less than 86400",
        ),
    ],
)
async def test_what_cannot_work_is_refused(client: Client, spec: Obj, message: str) -> None:
    assert message in await refusal(client, service(**spec))


async def test_of_many_that_want_the_same_at_once_one_gets_it(client: Client) -> None:
    ports = [{"port": 80, "nodePort": 30080}]

    async def wish(number: int) -> int:
        wanted = service(f"s{number}", type="NodePort", ports=ports)
        try:
            await client.create(SERVICES, wanted)
        except Invalid:
            return 0
        return 1

    assert sum(await asyncio.gather(*(wish(number) for number in range(20)))) == 1


async def test_a_service_that_was_only_tried_holds_nothing(client: Client) -> None:
    ports = [{"port": 80, "nodePort": 30080}]
    wanted = service(type="NodePort", ports=ports, clusterIP="10.96.0.99")
    await client.create(SERVICES, wanted, dry_run=True)
    await client.create(SERVICES, wanted)
    changed = await client.patch(SERVICES, "web", {"metadata": {"labels": {"a": "b"}}}, "default")
    assert changed["spec"]["ports"][0]["nodePort"] == 30080
