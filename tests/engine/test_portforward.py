"""Connections into pods, to what listens on their loopback address."""

import asyncio

import pytest
from tests.engine.node import TIMEOUT, Node, container, pod

from kubeling.kube.errors import BadRequest, ServiceUnavailable

SERVER = """
import socket
s = socket.create_server(("127.0.0.1", 8765))
print("ready", flush=True)
while True:
    c, _ = s.accept()
    data = b""
    while piece := c.recv(65536):
        data += piece
    c.sendall(data[::-1])
    c.close()
"""


async def serving(node: Node) -> None:
    command = ["python", "-c", SERVER]
    await node.create(pod("p", {"name": "main", "image": "python:3.11", "command": command}))
    await node.running("p")
    await node.says("p", "ready")


async def test_a_server_on_loopback_is_reached(node: Node) -> None:
    await serving(node)
    connection = await node.engine.node_api.port_forward("default", "p", 8765)
    async with asyncio.timeout(TIMEOUT):
        await connection.write(b"abc")
        connection.write_eof()
        assert await connection.read() == b"cba"
        assert await connection.read() == b""
    connection.close()


async def test_closing_ends_a_read_that_waits(node: Node) -> None:
    await serving(node)
    connection = await node.engine.node_api.port_forward("default", "p", 8765)
    reading = asyncio.create_task(connection.read())
    await asyncio.sleep(0)
    connection.close()
    async with asyncio.timeout(TIMEOUT):
        assert await reading == b""


async def test_a_port_nobody_listens_on_is_named(node: Node) -> None:
    await node.create(pod("p", container(script="sleep 60")))
    await node.running("p")
    with pytest.raises(ServiceUnavailable, match="localhost:1 inside the pod: connection refused"):
        await node.engine.node_api.port_forward("default", "p", 1)
    await node.run(pod("over", container(script="true")))
    with pytest.raises(BadRequest, match="pod over is not running"):
        await node.engine.node_api.port_forward("default", "over", 80)
