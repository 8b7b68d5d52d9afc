"""A Service's address leads to its ready pods."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.load import connect_at_once
from tests.support.services import HERE, endpoint, endpoint_slice, service

from kubeling.component import Context
from kubeling.engine.servicenet.backends import Backends
from kubeling.engine.servicenet.dataplane import DataPlane
from kubeling.engine.servicenet.forwarder import TcpForwarder, UdpForwarder
from kubeling.engine.servicenet.nodehosts import NodeHosts
from kubeling.engine.servicenet.proxy import ServiceProxy
from kubeling.engine.servicenet.zone import Zone
from kubeling.kube.objects import Key, Obj
from kubeling.kube.resources import ENDPOINT_SLICES, EVENTS, SERVICES


@contextlib.asynccontextmanager
async def forwarding(context: Context) -> AsyncIterator[ServiceProxy]:
    plane = DataPlane(Zone("cluster.local"))
    await plane.open()
    proxy = ServiceProxy(context, NodeHosts((HERE,), HERE), plane)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(proxy.controller.run(context.informers))
        yield proxy
        task.cancel()
    await plane.close()


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
                    if str(taken.getsockname()[1]) in event.object.get("message", ""):
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


class Echo(asyncio.DatagramProtocol):
    """Says to each packet who sent it, and counts senders."""

    def __init__(self) -> None:
        self.senders: set[tuple[str, int]] = set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.senders.add(addr)
        self.transport.sendto(data, addr)


async def test_packets_of_one_sender_take_one_way() -> None:
    loop = asyncio.get_running_loop()
    far, echo = await loop.create_datagram_endpoint(Echo, local_addr=(HERE, 0))
    forwarder = UdpForwarder(Backends([far.get_extra_info("sockname")]))
    with node_port_listener() as reserved:
        port = reserved.getsockname()[1]
        await forwarder.start(HERE, port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.connect((HERE, port))
            for number in range(5):
                channel.send(bytes([number]))
            async with asyncio.timeout(5):
                heard = {await loop.sock_recv(channel, 9) for _ in range(5)}
    assert heard == {bytes([number]) for number in range(5)}
    assert len(echo.senders) == 1
    await forwarder.stop()
    far.close()


async def test_callers_who_come_at_once_are_all_taken() -> None:
    forwarder = TcpForwarder(Backends([]))
    with node_port_listener() as reserved:
        port = reserved.getsockname()[1]
    await forwarder.start(HERE, port)
    connect_at_once(HERE, port)
    await forwarder.stop()
