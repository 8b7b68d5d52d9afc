"""Connections to pods, kept for the next request."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol, cast

import httptools

from kubeling.serving.gateway.proxying import REVISION_HEADER

__all__ = ["PodConnection", "Pods"]

_CONNECT_SECONDS: Final = 5.0
_KEPT_SECONDS: Final = 4.0
"""Less than servers keep a connection that nothing comes by: uvicorn's 5 are the fewest known."""
_DROPPED: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


class Receiver(Protocol):
    """Takes the answer of a pod."""

    @property
    def revision(self) -> str:
        """The revision that is asked."""

    def answered(self, status: int, head: bytes) -> None:
        """The answer's head came, as it is to be passed on but for what ends it."""

    def received(self, pieces: list[bytes]) -> None:
        """More of the answer came."""

    def completed(self) -> None:
        """The answer has come whole."""

    def broke(self, why: str) -> None:
        """The answer will not come whole."""


class PodConnection(asyncio.Protocol):
    """Sends one request at a time, and gives the answer to its receiver."""

    def __init__(self, pods: Pods, address: str) -> None:
        self._pods = pods
        self.address = address
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._headers: list[bytes] = []
        self._reason = b""
        self._framing = b""
        self._until_end = self._chunked = self._sized = False

    @property
    def usable(self) -> bool:
        """Whether a request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, receiver: Receiver) -> None:
        """Sends a request whose answer goes to the receiver."""
        assert self._transport is not None
        self._receiver = receiver
        self._transport.write(request)

    def abort(self) -> None:
        """Gives the answer up."""
        self._receiver = None
        if self._transport is not None:
            self._transport.abort()

    def pause(self, paused: bool) -> None:
        """Reads no further while the client does not."""
        if self._transport is not None and not self._transport.is_closing():
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # As asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._receiver is None:
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._break("what it answered is not HTTP")
            return
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pods.forget(self)
        if self._until_end and exc is None:
            self.on_message_complete()
        else:
            self._break(str(exc) if exc else "Server disconnected")

    # As a protocol of httptools

    def on_message_begin(self) -> None:
        self._headers, self._reason, self._framing = [], b"", b""
        self._chunked = self._sized = False
        if self._receiver is None:
            self.abort()

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        lowered = name.lower()
        if lowered not in _DROPPED:
            self._headers.append(b"%b: %b\r\n" % (name, value))
        elif lowered == b"content-length":
            self._framing = b"Content-Length: %b\r\n" % value
        elif lowered == b"transfer-encoding":
            self._sized = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._receiver is None or status < 200:
            return
        if not self._framing and status not in (204, 304):
            self._chunked = True
            self._until_end = not self._sized
            self._framing = b"Transfer-Encoding: chunked\r\n"
        shown = b"%s: %b\r\n" % (REVISION_HEADER.encode(), self._receiver.revision.encode())
        line = b"HTTP/1.1 %d %b\r\n" % (status, self._reason)
        self._receiver.answered(status, b"".join((line, *self._headers, self._framing, shown)))

    def on_body(self, body: bytes) -> None:
        self._pieces.append(b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body)

    def on_message_complete(self) -> None:
        receiver = self._receiver
        if receiver is None or (not self._until_end and self._parser.get_status_code() < 200):
            return
        if self._chunked:
            self._pieces.append(b"0\r\n\r\n")
        self._flush()
        self._receiver, self._until_end = None, False
        if self.usable and self._parser.should_keep_alive():
            # The client that could take no more has nothing to do with the next one.
            self.pause(False)
            self._pods.keep(self)
        elif self._transport is not None:
            self._transport.close()
        receiver.completed()

    def _flush(self) -> None:
        if self._pieces and self._receiver is not None:
            pieces, self._pieces = self._pieces, []
            self._receiver.received(pieces)

    def _break(self, why: str) -> None:
        receiver, self._receiver = self._receiver, None
        if self._transport is not None:
            self._transport.abort()
        if receiver is not None:
            receiver.broke(why)


class Pods:
    """The connections that nothing is asked by, the latest used first."""

    def __init__(self) -> None:
        self._idle: dict[str, list[PodConnection]] = {}

    def take(self, address: str) -> PodConnection | None:
        """A kept connection to ``host:port``, if there is one."""
        idle = self._idle.get(address)
        oldest = time.monotonic() - _KEPT_SECONDS
        while idle:
            found = idle.pop()
            if found.usable and found.idle_since > oldest:
                return found
            found.abort()
        return None

    async def connect(self, address: str) -> PodConnection:
        """A new connection; raises ``OSError`` or ``TimeoutError``."""
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, made = await loop.create_connection(
                lambda: PodConnection(self, address), host.strip("[]"), int(port)
            )
        return made

    def keep(self, connection: PodConnection) -> None:
        """Keeps a connection whose answer has come."""
        connection.idle_since = time.monotonic()
        self._idle.setdefault(connection.address, []).append(connection)

    def forget(self, connection: PodConnection) -> None:
        """A connection was closed."""
        idle = self._idle.get(connection.address)
        if idle is not None and connection in idle:
            idle.remove(connection)
        if not idle:
            self._idle.pop(connection.address, None)
