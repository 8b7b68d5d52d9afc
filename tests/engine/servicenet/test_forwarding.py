"""A Service's address leads to its ready pods, and its name to the address."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from dnslib import QTYPE, RCODE, DNSRecord
from tests.support.apiserver import running_server

from kubeling.component import Context, Settings
from kubeling.engine.servicenet.dns import DnsServer, dns_sockets
from kubeling.engine.servicenet.nodehosts import NodeHosts
from kubeling.engine.servicenet.proxy import ServiceProxy
from kubeling.engine.servicenet.zone import Zone
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Key, Obj, new_object
from kubeling.kube.resources import ENDPOINT_SLICES, EVENTS, SERVICES

HERE = "127.0.0.1"


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    async with running_server(data_dir=tmp_path) as running, Informers(running.client) as informers:
        yield Context(running.client, informers, Settings(tmp_path, tmp_path))


@contextlib.asynccontextmanager
async def forwarding(context: Context) -> AsyncIterator[ServiceProxy]:
    proxy = ServiceProxy(context, NodeHosts((HERE,), HERE))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(proxy.controller.run(context.informers))
        yield proxy
        task.cancel()
    await proxy.close()


def node_port_listener() -> socket.socket:
    """Takes a port of those that Services may ask for."""
    for port in random.sample(range(30000, 32768), 50):
        with contextlib.suppress(OSError):
            return socket.create_server((HERE, port))
    raise AssertionError("none of fifty node ports is free")


def free_port() -> int:
    with node_port_listener() as listener:
        return int(listener.getsockname()[1])


async def echo_server(text: bytes) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text + await reader.read())
        writer.close()

    return await asyncio.start_server(answer, HERE, 0)


def port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


async def ask(port: int, text: bytes = b"?") -> bytes:
    reader, writer = await asyncio.open_connection(HERE, port)
    writer.write(text)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def service(title: str = "web", **spec: object) -> Obj:
    return new_object(SERVICES, title, "default", spec=spec)


def endpoint_slice(title: str, *endpoints: Obj, port: int = 80, name: str = "") -> Obj:
    return new_object(
        ENDPOINT_SLICES,
        title,
        "default",
        labels={"kubernetes.io/service-name": title},
        addressType="IPv4",
        endpoints=list(endpoints),
        ports=[{"name": name, "port": port, "protocol": "TCP"}],
    )


def endpoint(address: str = HERE, *, ready: bool = True, pod: str = "", host: str = "") -> Obj:
    found: Obj = {"addresses": [address], "conditions": {"ready": ready}}
    if pod:
        found["targetRef"] = {"kind": "Pod", "name": pod, "namespace": "default"}
    if host:
        found["hostname"] = host
    return found


async def listening(port: int) -> None:
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(HERE, port)
                writer.close()
                return
            await asyncio.sleep(0)


async def test_connections_take_turns_among_ready_pods(context: Context) -> None:
    first, second = await echo_server(b"1"), await echo_server(b"2")
    node_port = free_port()
    ports = [{"port": 80, "nodePort": node_port}]
    async with forwarding(context):
        await context.client.create(SERVICES, service(type="NodePort", ports=ports))
        one = endpoint_slice("web", endpoint(), port=port_of(first))
        two = endpoint_slice("web", endpoint(), port=port_of(second))
        three = endpoint_slice("web", endpoint(ready=False), port=free_port())
        for number, found in enumerate((one, two, three)):
            found["metadata"]["name"] = f"web-{number}"
            await context.client.create(ENDPOINT_SLICES, found)
        await listening(node_port)
        answers = {await ask(node_port) for _ in range(8)}
    assert answers == {b"1?", b"2?"}


async def test_a_pod_that_does_not_answer_is_passed_over(context: Context) -> None:
    alive = await echo_server(b"alive")
    node_port = free_port()
    ports = [{"port": 80, "nodePort": node_port}]
    with socket.socket() as deaf:
        deaf.bind((HERE, 0))
        await check_pass_over(context, node_port, ports, deaf.getsockname()[1], port_of(alive))


async def check_pass_over(
    context: Context, node_port: int, ports: list[Obj], deaf: int, alive: int
) -> None:
    async with forwarding(context):
        await context.client.create(SERVICES, service(type="NodePort", ports=ports))
        for number, port in enumerate((deaf, alive)):
            found = endpoint_slice("web", endpoint(), port=port)
            found["metadata"]["name"] = f"web-{number}"
            await context.client.create(ENDPOINT_SLICES, found)
        await listening(node_port)
        assert {await ask(node_port) for _ in range(4)} == {b"alive?"}


async def test_an_address_that_cannot_be_used_is_an_event(context: Context) -> None:
    with node_port_listener() as taken:
        ports = [{"port": 80, "nodePort": taken.getsockname()[1]}]
        async with forwarding(context):
            await context.client.create(SERVICES, service(type="NodePort", ports=ports))
            await context.client.create(ENDPOINT_SLICES, endpoint_slice("web", endpoint()))
            async with asyncio.timeout(5):
                async for event in context.client.watch(EVENTS, "default"):
                    if str(taken.getsockname()[1]) in event.object["message"]:
                        break
            assert event.object["reason"] == "FailedToListen"


async def test_a_service_without_pods_refuses_connections(context: Context) -> None:
    alive = await echo_server(b"alive")
    node_port = free_port()
    ports = [{"port": 80, "nodePort": node_port}]
    async with forwarding(context) as proxy:
        await context.client.create(SERVICES, service(type="NodePort", ports=ports))
        made = endpoint_slice("web", endpoint(), port=port_of(alive))
        await context.client.create(ENDPOINT_SLICES, made)
        await listening(node_port)
        gone = asyncio.Event()
        context.informers.of(ENDPOINT_SLICES).add_handler(lambda _, new: new or gone.set())
        await context.client.delete(ENDPOINT_SLICES, "web", "default")
        async with asyncio.timeout(5):
            await gone.wait()
        await proxy.reconcile(Key("default", "web"))
        with pytest.raises(ConnectionRefusedError):
            await ask(node_port)


async def query(address: tuple[str, int], name: str, kind: str = "A") -> DNSRecord:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.connect(address)
        await loop.sock_sendall(channel, DNSRecord.question(name, kind).pack())
        async with asyncio.timeout(5):
            return DNSRecord.parse(await loop.sock_recv(channel, 4096))


@contextlib.asynccontextmanager
async def resolving(context: Context) -> AsyncIterator[tuple[str, int]]:
    zone = Zone(context.informers, "cluster.local")
    server = DnsServer(zone, [])
    packets, streams = dns_sockets(HERE, 0)
    address = packets.getsockname()
    await context.informers.synced(SERVICES, ENDPOINT_SLICES)
    await server.start(packets, streams)
    try:
        yield address
    finally:
        await server.close()


def addresses(answer: DNSRecord) -> list[str]:
    return sorted(str(record.rdata) for record in answer.rr if record.rtype == QTYPE.A)


async def test_names_of_services_and_their_pods(context: Context) -> None:
    made = await context.client.create(SERVICES, service(ports=[{"port": 80}]))
    headless = service("nodes", clusterIP="None", ports=[{"name": "rpc", "port": 80}])
    await context.client.create(SERVICES, headless)
    await context.client.create(
        ENDPOINT_SLICES,
        endpoint_slice(
            "nodes",
            endpoint("10.0.0.1", pod="nodes-0", host="nodes-0"),
            endpoint("10.0.0.2", pod="worker-b"),
            endpoint("10.0.0.3", pod="starting", ready=False),
            port=2222,
            name="rpc",
        ),
    )
    async with resolving(context) as server:

        async def resolved(name: str) -> list[str]:
            return addresses(await query(server, f"{name}.svc.cluster.local"))

        assert await resolved("web.default") == [made["spec"]["clusterIP"]]
        assert await resolved("nodes.default") == ["10.0.0.1", "10.0.0.2"]
        assert await resolved("nodes-0.nodes.default") == ["10.0.0.1"]
        assert await resolved("WORKER-B.nodes.default") == ["10.0.0.2"]
        found = await query(server, "_rpc._tcp.nodes.default.svc.cluster.local", "SRV")
        targets = sorted((record.rdata.port, str(record.rdata.target)) for record in found.rr)
        assert targets[0] == (2222, "nodes-0.nodes.default.svc.cluster.local.")
        missing = await query(server, "nobody.default.svc.cluster.local")
        assert missing.header.rcode == RCODE.NXDOMAIN
        other_type = await query(server, "web.default.svc.cluster.local", "AAAA")
        assert other_type.header.rcode == RCODE.NOERROR
        assert not other_type.rr
        beyond = await query(server, "example.com")
        assert beyond.header.rcode == RCODE.SERVFAIL


async def test_names_over_tcp(context: Context) -> None:
    made = await context.client.create(SERVICES, service(ports=[{"port": 80}]))
    async with resolving(context) as (host, port):
        question = DNSRecord.question("web.default.svc.cluster.local")
        answer = await asyncio.to_thread(question.send, host, port, tcp=True, timeout=5)
    assert addresses(DNSRecord.parse(answer)) == [made["spec"]["clusterIP"]]
