"""``pods/portforward``: connections to the ports of a pod, over a websocket.

kubectl tunnels SPDY (:mod:`.tunnel`). Other clients name their ports in the query and get one
connection to each: channel ``2n`` carries the data of the n-th and ``2n + 1`` its errors; both
begin with the port's number.
"""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web

from kubeling.apiserver.channels import (
    PORT_PROTOCOLS,
    ChannelSocket,
    keep_alive,
    open_socket,
    until_one_ends,
)
from kubeling.apiserver.inbox import Inbox, carry
from kubeling.apiserver.node import NodeApi, PortConnection
from kubeling.apiserver.query import Query
from kubeling.apiserver.refusal import refusal
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.requests import Answer, ApiRequest, ConnectionAnswer, Target
from kubeling.apiserver.served import Served
from kubeling.apiserver.tunnel import TUNNEL_PROTOCOL, Connect, Tunnel
from kubeling.kube.errors import ApiError, BadRequest, ServiceUnavailable
from kubeling.proxying.websockets import is_websocket

__all__ = ["PortForwardHandler"]


class PortForwardHandler:
    """Connects clients with what listens in pods."""

    def __init__(self, registry: Registry, node: NodeApi | None) -> None:
        self._registry = registry
        self._node = node

    async def handle(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        pod = self._registry.get(served, target.namespace, target.name)
        node = self._node
        if node is None:
            raise ServiceUnavailable("no node runs here: there is nothing to connect to")
        if not is_websocket(request.headers):
            raise refusal(pod)
        ports = _ports(request.query)

        async def connect(port: int) -> PortConnection:
            return await node.port_forward(target.namespace, target.name, port)

        async def serve(connection: web.BaseRequest) -> web.StreamResponse:
            opened = await open_socket(connection, (TUNNEL_PROTOCOL, *PORT_PROTOCOLS))
            with contextlib.suppress(ConnectionError):
                if opened.ws_protocol == TUNNEL_PROTOCOL:
                    work = Tunnel(opened, connect).run()
                else:
                    work = _Channels(ChannelSocket(opened), ports, connect).run()
                await until_one_ends(work, keep_alive(opened))
            await opened.close()
            return opened

        return ConnectionAnswer(serve)


class _Channels:
    """One client's connections, known from the start; it is hung up on when all have ended."""

    def __init__(self, client: ChannelSocket, ports: list[int], connect: Connect) -> None:
        self._client = client
        self._ports = ports
        self._connect = connect
        self._inboxes = [Inbox() for _ in ports]

    async def run(self) -> None:
        """Carries until all connections have ended or the client is gone."""
        await until_one_ends(self._read(), self._carry_all())

    async def _read(self) -> None:
        async for channel, data in self._client.messages():
            if data and channel % 2 == 0 and channel // 2 < len(self._inboxes):
                await self._inboxes[channel // 2].put(data)

    async def _carry_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number, port in enumerate(self._ports):
                group.create_task(self._carry(number, port))

    async def _carry(self, number: int, port: int) -> None:
        async def send(data: bytes) -> None:
            await self._client.send(2 * number, data)

        with contextlib.suppress(ConnectionError):  # the pod's or the client's: it is over
            for channel in (2 * number, 2 * number + 1):
                await self._client.send(channel, port.to_bytes(2, "little"))
            try:
                await carry(await self._connect(port), self._inboxes[number], send)
            except ApiError as error:
                await self._client.send(2 * number + 1, str(error).encode())
        await self._inboxes[number].close()


def _ports(query: Query) -> list[int]:
    """The ports in the query; kubectl names them later, in its streams."""
    texts = [text for value in query.all("ports") for text in value.split(",") if text]
    for text in texts:
        if not text.isdigit() or not 0 < int(text) < 1 << 16:
            raise BadRequest(f'ports: "{text}" is not a port: use a number from 1 to 65535')
    return [int(text) for text in texts]
