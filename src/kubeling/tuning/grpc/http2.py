"""HTTP/2 as unary gRPC calls use it: a request of one message, an answer of one message.

One :class:`Http2` is one connection, of either side. Whole exchanges come out of it, and messages
of any size go in: sending waits for the room that the other side grants.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes

from kubeling.tuning.grpc.services import Code, RpcError

__all__ = [
    "CONTENT_TYPE",
    "ConnectionBroken",
    "Exchange",
    "Headers",
    "Http2",
    "framed",
    "quoted",
    "unframed",
]

CONTENT_TYPE: Final = "application/grpc"
LARGEST: Final = 1 << 28
"""Upstream allows messages of 2 GiB; this is what one call may hold in memory here."""

_CHUNK: Final = 1 << 16
_WINDOW: Final = 1 << 20
_PREFIX: Final = 5

Headers = list[tuple[str, str]]


@dataclass
class Exchange:
    """What the other side has sent on one stream."""

    stream: int
    headers: dict[str, str] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)
    reset: bool = False


class Http2:
    """One connection; ``ended`` is called with every exchange whose end has come."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ended: Callable[[Exchange], None],
        *,
        client: bool,
    ) -> None:
        self._reader, self._writer, self._ended = reader, writer, ended
        self._http = H2Connection(H2Configuration(client_side=client, header_encoding="utf-8"))
        self._exchanges: dict[int, Exchange] = {}
        self._room = asyncio.Condition()
        self._http.initiate_connection()
        self._http.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW})
        self._http.increment_flow_control_window(_WINDOW)

    async def run(self) -> None:
        """Reads until the other side closes or breaks the rules."""
        await self._flush()
        while data := await self._reader.read(_CHUNK):
            try:
                events = self._http.receive_data(data)
            except ProtocolError:
                await self._flush()
                break
            for event in events:
                self._take(event)
            await self._flush()
            async with self._room:
                self._room.notify_all()
        for exchange in self._exchanges.values():
            exchange.reset = True
            self._ended(exchange)
        self._exchanges.clear()

    def open(self, headers: Headers) -> int:
        """Begins a stream of ours and returns its number."""
        stream = self._http.get_next_available_stream_id()
        self._exchanges[stream] = Exchange(stream)
        self._http.send_headers(stream, headers)
        return stream

    def answer(self, stream: int, headers: Headers, *, end: bool = False) -> None:
        """Headers or trailers of a stream of theirs; :meth:`send` or :meth:`flush` sends them."""
        self._http.send_headers(stream, headers, end_stream=end)

    async def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Sends data as far and as fast as there is room for it."""
        rest = memoryview(data)
        while rest:
            async with self._room:
                await self._room.wait_for(lambda: self._http.local_flow_control_window(stream) > 0)
            window = self._http.local_flow_control_window(stream)
            size = min(window, self._http.max_outbound_frame_size, len(rest))
            self._http.send_data(stream, bytes(rest[:size]), end and size == len(rest))
            rest = rest[size:]
            await self._flush()

    async def flush(self) -> None:
        """Sends what was queued."""
        await self._flush()

    async def _flush(self) -> None:
        if data := self._http.data_to_send():
            self._writer.write(data)
            await self._writer.drain()

    def _take(self, event: Event) -> None:
        match event:
            case RequestReceived() | ResponseReceived() | TrailersReceived():
                exchange = self._exchange(event.stream_id)
                exchange.headers |= _headers(event.headers or ())
            case DataReceived():
                exchange = self._exchange(event.stream_id)
                if len(exchange.data) <= LARGEST:
                    exchange.data += event.data or b""
                self._http.acknowledge_received_data(
                    event.flow_controlled_length or 0, event.stream_id or 0
                )
            case StreamEnded() | StreamReset():
                found = self._exchanges.pop(event.stream_id or 0, None)
                if found is not None:
                    found.reset = isinstance(event, StreamReset)
                    self._ended(found)
            case WindowUpdated() | ConnectionTerminated() | _:
                return

    def _exchange(self, stream: int | None) -> Exchange:
        return self._exchanges.setdefault(stream or 0, Exchange(stream or 0))


def framed(message: bytes) -> bytes:
    """A message with its length before it, not compressed."""
    return b"\0" + len(message).to_bytes(_PREFIX - 1, "big") + message


def unframed(data: bytes | bytearray) -> bytes:
    """The one message of a call; raises :class:`RpcError`."""
    if len(data) > LARGEST:
        raise RpcError(Code.RESOURCE_EXHAUSTED, f"a message may have {LARGEST} bytes at most")
    if len(data) < _PREFIX or int.from_bytes(data[1:_PREFIX], "big") != len(data) - _PREFIX:
        raise RpcError(Code.INTERNAL, "the message is not of the length it says")
    if data[0]:
        raise RpcError(Code.UNIMPLEMENTED, "compressed messages are not supported")
    return bytes(data[_PREFIX:])


def quoted(message: str) -> str:
    """A status' message as a header carries it."""
    return urllib.parse.quote(message, safe=" !\"#$&'()*+,-./:;<=>?@[]^_`{|}~")


def _headers(headers: Iterable[tuple[bytes | str, bytes | str]]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in headers}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


ConnectionBroken = (ConnectionError, ProtocolError, StreamClosedError)
