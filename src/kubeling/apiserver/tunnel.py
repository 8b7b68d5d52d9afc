"""``kubectl port-forward``: a SPDY connection inside a websocket, two streams per connection.

For each connection that kubectl accepts it opens a stream for errors, which it only reads, and one
for data, both with the header ``requestid``. It waits for the end of both.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from kubeling.apiserver.channels import received
from kubeling.apiserver.inbox import Inbox, carry
from kubeling.apiserver.node import PortConnection
from kubeling.apiserver.spdy import (
    Data,
    Frame,
    Ping,
    Reset,
    SpdyDecoder,
    SpdyEncoder,
    SpdyError,
    SynReply,
    SynStream,
)
from kubeling.kube.errors import ApiError

__all__ = ["TUNNEL_PROTOCOL", "Connect", "Tunnel"]

TUNNEL_PROTOCOL: Final = "SPDY/3.1+portforward.k8s.io"
_PROTOCOL_ERROR: Final = 1

Connect = Callable[[int], Awaitable[PortConnection]]
"""Connects to a port of the pod; raises :class:`ApiError`."""


@dataclass(slots=True)
class _Pair:
    """The streams of one connection, as far as they are there, and what comes on the second."""

    errors: int = 0
    data: int = 0
    port: int = 0
    inbox: Inbox = field(default_factory=Inbox)
    connection: PortConnection | None = None
    task: asyncio.Task[None] | None = None
    abandoned: bool = False

    def abandon(self) -> None:
        """The client wants no more of it."""
        self.abandoned = True
        if self.connection is not None:
            self.connection.close()


class Tunnel:
    """Serves one client; ends with it, and its connections with the tunnel."""

    def __init__(self, socket: web.WebSocketResponse, connect: Connect) -> None:
        self._socket = socket
        self._connect = connect
        self._encoder = SpdyEncoder()
        self._sending = asyncio.Lock()
        self._pairs: dict[str, _Pair] = {}
        self._by_stream: dict[int, _Pair] = {}

    async def run(self) -> None:
        """Carries until the client is gone, or speaks nonsense and is hung up on."""
        async with asyncio.TaskGroup() as self._tasks:
            try:
                await self._read()
            except SpdyError as error:
                text = str(error).encode()
                await self._socket.close(code=WSCloseCode.PROTOCOL_ERROR, message=text)
            finally:
                for pair in self._pairs.values():
                    if pair.task is not None:
                        pair.task.cancel()

    async def _read(self) -> None:
        decoder = SpdyDecoder()
        async for message in received(self._socket):
            if message.type is WSMsgType.BINARY:
                for frame in decoder.feed(message.data):
                    await self._receive(frame)

    async def _receive(self, frame: Frame) -> None:
        match frame:
            case SynStream():
                await self._open(frame)
            case Data(stream, data, fin) if pair := self._by_stream.get(stream):
                await _deliver(pair, stream, data, fin)
            case Reset(stream) if pair := self._by_stream.get(stream):
                pair.abandon()
            case Ping():
                await self._send(frame)

    async def _open(self, frame: SynStream) -> None:
        headers = frame.headers
        kind, port = headers.get("streamtype"), headers.get("port", "")
        if kind not in ("error", "data") or not port.isdigit() or not 0 < int(port) < 1 << 16:
            await self._send(Reset(frame.stream, _PROTOCOL_ERROR))
            return
        # Clients of old name no request; their two streams follow each other.
        request = headers.get("requestid", str(frame.stream - 2 * (kind == "data")))
        pair = self._pairs.setdefault(request, _Pair())
        self._by_stream[frame.stream] = pair
        if kind == "error":
            pair.errors = frame.stream
        else:
            pair.data, pair.port = frame.stream, int(port)
        await self._send(SynReply(frame.stream))
        if pair.errors and pair.data and pair.task is None:
            pair.task = self._tasks.create_task(self._carry(request, pair))

    async def _carry(self, request: str, pair: _Pair) -> None:
        """One connection; however it ends, both streams do, or the client would wait."""

        async def send(data: bytes) -> None:
            await self._send(Data(pair.data, data))

        trouble = b""
        try:
            pair.connection = await self._connect(pair.port)
            if pair.abandoned:
                pair.connection.close()
            await carry(pair.connection, pair.inbox, send)
        except ApiError as error:
            trouble = str(error).encode()
        except ConnectionError:
            await self._send(Reset(pair.data))  # as the pod did
        finally:
            del self._pairs[request], self._by_stream[pair.data], self._by_stream[pair.errors]
            await pair.inbox.close()
        await self._send(Data(pair.data, b"", fin=True))
        await self._send(Data(pair.errors, trouble, fin=True))

    async def _send(self, frame: Frame) -> None:
        async with self._sending:
            # A client that is gone is noticed where it is read from.
            with contextlib.suppress(ConnectionError):
                await self._socket.send_bytes(self._encoder.encode(frame))


async def _deliver(pair: _Pair, stream: int, data: bytes, fin: bool) -> None:
    if stream != pair.data:
        return
    if data:
        await pair.inbox.put(data)
    if fin:
        await pair.inbox.put(b"")
