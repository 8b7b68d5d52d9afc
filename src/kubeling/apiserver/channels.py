"""A websocket that carries numbered channels, as exec, attach and port-forward speak it.

Each binary message begins with the number of its channel. ``v5`` adds channel 255, which closes
another one; in the ``base64`` variants, for browsers of old, messages are text.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import socket as sockets
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, Final

from aiohttp import WSMessage, WSMsgType, web

from kubeling.kube.errors import BadRequest

__all__ = [
    "CLOSE",
    "EXEC_PROTOCOLS",
    "PORT_PROTOCOLS",
    "ChannelSocket",
    "keep_alive",
    "open_socket",
    "received",
    "until_one_ends",
]

CLOSE: Final = 255
_V5: Final = "v5.channel.k8s.io"
EXEC_PROTOCOLS: Final = (_V5, "v4.channel.k8s.io", "v4.base64.channel.k8s.io")
PORT_PROTOCOLS: Final = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io")

_LARGEST_MESSAGE: Final = 32 << 20
_KEEP_ALIVE: Final = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""A client whose machine is gone is noticed after a minute, by the kernel."""
PING_SECONDS = 10.0
"""How often something is sent to a client, to notice that it is gone while it is not read from."""


async def open_socket(request: web.BaseRequest, protocols: Sequence[str]) -> web.WebSocketResponse:
    """Answers a request with a websocket of one of the protocols, or with a refusal."""
    offered = [
        name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    ]
    if any(offered) and not set(offered) & set(protocols):
        raise BadRequest(
            f"unable to upgrade: unsupported subprotocol {', '.join(offered)}; use one of: "
            f"{', '.join(protocols)}"
        )
    opened = web.WebSocketResponse(
        protocols=protocols, compress=False, max_msg_size=_LARGEST_MESSAGE, autoping=False
    )
    await opened.prepare(request)
    connection = request.transport.get_extra_info("socket") if request.transport else None
    for option, value in _KEEP_ALIVE:
        if connection is not None and hasattr(sockets, option):
            connection.setsockopt(sockets.IPPROTO_TCP, getattr(sockets, option), value)
    return opened


async def received(opened: web.WebSocketResponse) -> AsyncIterator[WSMessage]:
    """What a client sends, with its pongs, until it is gone; its pings are answered."""
    async for message in opened:
        if message.type is WSMsgType.PING:
            await opened.pong(message.data)
        yield message


async def until_one_ends(*work: Coroutine[Any, Any, object]) -> None:
    """Does several things until one has ended, which ends the others; raises what went wrong."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


async def keep_alive(opened: web.WebSocketResponse) -> None:
    """Pings until the client is gone.

    While a command takes no more input its client is not read from, so that only sending finds out.
    For the same reason an answer is not insisted on: it would wait behind the input.
    """
    with contextlib.suppress(ConnectionError):
        while True:
            await asyncio.sleep(PING_SECONDS)
            await opened.ping()


class ChannelSocket:
    """The channels of one client."""

    def __init__(self, opened: web.WebSocketResponse) -> None:
        self._socket = opened
        self._is_text = "base64" in (opened.ws_protocol or "")
        self._heard = asyncio.Event()

    async def begin(self, channel: int) -> None:
        """Tells the client that what it asked for has begun; returns when it can be sent to.

        Clients of v5 before Kubernetes 1.34 throw away what arrives before they have made their
        streams (kubernetes#131189), so a pong is awaited; those of v4 expect an empty message.
        """
        if self._socket.ws_protocol == _V5:
            await self._socket.ping()
            await self._heard.wait()
        else:
            await self.send(channel, b"")

    async def send(self, channel: int, data: bytes) -> None:
        """Sends on a channel; returns when the client keeps up."""
        if self._is_text:
            await self._socket.send_str(f"{channel}{base64.b64encode(data).decode()}")
        else:
            await self._socket.send_bytes(bytes((channel,)) + data)

    async def messages(self) -> AsyncIterator[tuple[int, bytes]]:
        """What the client sends, as ``(channel, data)``, until it is gone."""
        async for message in received(self._socket):
            self._heard.set()
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                continue
            # The Python client sends text as text, whatever the protocol.
            is_text = message.type is WSMsgType.TEXT
            data = message.data.encode() if is_text else message.data
            if self._is_text and data[:1].isdigit():
                yield int(data[:1]), _decoded(data[1:])
            elif data and not self._is_text:
                yield data[0], data[1:]

    async def close(self) -> None:
        await self._socket.close()


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""
