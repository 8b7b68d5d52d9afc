"""Connections to pods, kept for the next request."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol, cast

from kubeling.serving.gateway.http1.answers import AnswerHead, AnswerReader, NotHttpError
from kubeling.serving.gateway.http1.heads import Heads

__all__ = ["PodConnection", "Pods"]

_CONNECT_SECONDS: Final = 5.0
_KEPT_SECONDS: Final = 4.0
"""Less than servers keep a connection that nothing comes by: uvicorn's 5 are the fewest known."""


class Receiver(Protocol):
    """Takes the answer of a pod."""

    def answered_whole(self, head: AnswerHead, body: bytes) -> None:
        """The whole answer came, and nothing else will be told."""

    def answered(self, head: AnswerHead) -> None:
        """The answer's head came."""

    def received(self, pieces: list[bytes]) -> None:
        """More of the answer came."""

    def completed(self) -> None:
        """The answer has come whole."""

    def broke(self, why: str) -> None:
        """The answer will not come whole."""

    def late(self) -> None:
        """The answer has not come whole in time."""


class PodConnection(asyncio.Protocol):
    """Sends one request at a time, and gives the answer to its receiver."""

    def __init__(self, pods: Pods, address: str) -> None:
        self._pods = pods
        self.address = address
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._reader = AnswerReader(pods.heads)
        self._loop = asyncio.get_running_loop()
        self._limit: asyncio.TimerHandle | None = None
        self._limit_at = self._late_at = 0.0

    @property
    def usable(self) -> bool:
        """Whether a request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, receiver: Receiver, seconds: float) -> None:
        """Sends a request whose answer goes to the receiver, within some seconds."""
        assert self._transport is not None
        self._receiver = receiver
        self._transport.write(request)
        self._late_at = self._loop.time() + seconds
        # One timer lasts for many requests: it looks when it is time whether the latest is late.
        if self._limit is None or self._late_at < self._limit_at:
            self._watch(seconds)

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
        receiver, reader = self._receiver, self._reader
        if receiver is None:
            self.abort()
            return
        if reader.between and (found := reader.find(data)) is not None:
            head, body = found
            self._receiver = None
            self._pods.keep(self)
            receiver.answered_whole(head, body)
            return
        try:
            reader.feed(data)
        except NotHttpError:
            self._break("what it answered is not HTTP")
            return
        self._pass_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._limit is not None:
            self._limit.cancel()
        self._pods.forget(self)
        if self._reader.until_end and exc is None:
            self._reader.end()
            self._pass_on()
        else:
            self._break(str(exc) if exc else "Server disconnected")

    def _pass_on(self) -> None:
        """Tells the receiver what was read."""
        receiver, reader = self._receiver, self._reader
        if receiver is None:
            return
        if reader.head is not None:
            head, reader.head = reader.head, None
            receiver.answered(head)
        if reader.pieces:
            pieces, reader.pieces = reader.pieces, []
            receiver.received(pieces)
        if reader.whole:
            self._end()

    def _end(self) -> None:
        """The answer has come whole, and what came with it was looked at."""
        receiver, self._receiver = self._receiver, None
        self._reader.next()
        if self._reader.keeps and self.usable:
            # The client that could take no more has nothing to do with the next one.
            self.pause(False)
            self._pods.keep(self)
        elif self._transport is not None:
            self._transport.close()
        if receiver is not None:
            receiver.completed()

    def _break(self, why: str) -> None:
        receiver, self._receiver = self._receiver, None
        if self._transport is not None:
            self._transport.abort()
        if receiver is not None:
            receiver.broke(why)

    def _watch(self, seconds: float) -> None:
        if self._limit is not None:
            self._limit.cancel()
        self._limit = self._loop.call_later(seconds, self._look)
        self._limit_at = self._loop.time() + seconds

    def _look(self) -> None:
        """Ends what is late; a connection that rests is looked at again with its next request."""
        self._limit = None
        if self._receiver is None:
            return
        left = self._late_at - self._loop.time()
        if left > 0:
            self._watch(left)
        else:
            self._receiver.late()


class Pods:
    """The connections that nothing is asked by, the latest used first."""

    def __init__(self) -> None:
        self._idle: dict[str, list[PodConnection]] = {}
        self.heads: Heads[AnswerHead] = Heads()

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
