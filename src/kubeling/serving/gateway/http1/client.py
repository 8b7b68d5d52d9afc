"""A client's connection: its requests one after the other, until one is for somebody else."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from functools import lru_cache
from typing import Final, cast

from kubeling.kube.objects import Key
from kubeling.serving.gateway.clients import Clients
from kubeling.serving.gateway.delivery import Delivery
from kubeling.serving.gateway.http1.destination import Destination
from kubeling.serving.gateway.http1.exchange import Asked, Exchange
from kubeling.serving.gateway.http1.heads import END, Heads
from kubeling.serving.gateway.http1.pods import Pods
from kubeling.serving.gateway.http1.request import Request
from kubeling.serving.names import ComponentName

__all__ = ["ShortWay"]

_HEAD: Final = 1 << 16
_WHOLE: Final = 1 << 20
_IDLE_SECONDS: Final = 75.0
_PREFIX: Final = b"/serving/"

Claimed = Callable[[str], tuple[Key, ComponentName | None] | None]
"""The service of a host name."""


class ShortWay:
    """The connections of clients that have asked for a model."""

    def __init__(
        self,
        delivery: Delivery,
        clients: Clients,
        claimed: Claimed,
        is_service: Callable[[Key], bool],
    ) -> None:
        self.delivery = delivery
        self.clients = clients
        self.pods = Pods()
        self._claimed = claimed
        self._is_service = is_service
        self._heads: Heads[Asked] = Heads()

    def takes(
        self, beginning: bytes, otherwise: Callable[[], asyncio.Protocol]
    ) -> asyncio.Protocol | None:
        """What speaks with a client whose first request is for a model."""
        end = beginning.find(END)
        if end < 0 or self.asked(beginning[: end + len(END)]) is None:
            return None
        return ClientConnection(self, otherwise)

    def asked(self, head: bytes) -> Asked | None:
        """What a head asks of a service, if that may go there the short way."""
        asked = self._heads.find(head)
        if asked is None:
            request = Request(head)
            destination = self._destination(request)
            if destination is None:
                return None
            asked = Asked(request, destination)
            self._heads.learn(head, asked)
        return asked

    def forget(self) -> None:
        """Services, or their names, are others now."""
        self._heads.forget()

    def _destination(self, request: Request) -> Destination | None:
        """The service that a request is for, if it may go there the short way."""
        if not request.simple or request.length > _WHOLE or not request.target.startswith(b"/"):
            return None
        host = request.host.rpartition(":")[0] or request.host
        host = (host if not request.host.endswith("]") else request.host).lower()
        if found := self._claimed(host):
            return Destination(*found, request.target.decode("latin-1"))
        if not request.target.startswith(_PREFIX) or not _is_this_machine(host):
            return None
        parts = request.target.split(b"/", 4)
        if len(parts) < 5 or b"?" in parts[3] or b"%" in parts[2] + parts[3]:
            return None
        key = Key(parts[2].decode("latin-1"), parts[3].decode("latin-1"))
        target = "/" + parts[4].decode("latin-1")
        return Destination(key, None, target) if self._is_service(key) else None


class ClientConnection(asyncio.Protocol):
    """Reads requests, and sets each on its way when the one before is answered."""

    def __init__(self, way: ShortWay, otherwise: Callable[[], asyncio.Protocol]) -> None:
        self._way = way
        self._otherwise = otherwise
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._asked: Asked | None = None
        self._head = 0
        self._exchange: Exchange | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._used = 0.0
        self._seen = 0
        self._paused = False
        self._leaving = False
        self._loop = asyncio.get_running_loop()
        self.closes = False
        self.origin = b""

    # As asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else "unknown"
        self.origin = address.encode() + END
        self._way.clients.came(self)
        self._used = self._loop.time()
        self._watch()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if self._exchange is None and not self._paused:
            self._next()
        elif len(self._buffer) > _HEAD and self._transport is not None:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._way.clients.left(self)
        if self._idle is not None:
            self._idle.cancel()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()

    def pause_writing(self) -> None:
        self._paused = True
        if self._exchange is not None:
            self._exchange.pause(True)

    def resume_writing(self) -> None:
        self._paused = False
        if self._exchange is not None:
            self._exchange.pause(False)
        else:
            self._go_on()

    # As a client

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def answered(self) -> None:
        self._exchange = None
        transport = self._transport
        assert transport is not None
        if self.closes:
            transport.close()
            return
        self._used = self._loop.time()
        # Answers that nobody reads would pile up here if more were asked for.
        if self._buffer and not self._paused:
            self._go_on()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def leave(self) -> None:
        """Closes, after the answer that is under way, or to the request that is."""
        self._leaving = self.closes = True
        if self._exchange is None and not self._buffer and self._transport is not None:
            self._transport.close()

    def _go_on(self) -> None:
        """Turns to what the client has sent, or will, once its answer is out."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.resume_reading()
        if self._buffer:
            self._next()

    def _next(self) -> None:
        """Begins with the next request, if all of it is there."""
        buffer, asked = self._buffer, self._asked
        if asked is None:
            end = buffer.find(END) + len(END)
            if end < len(END):
                if len(buffer) > _HEAD:
                    self._hand_over()
                return
            asked = self._way.asked(buffer[:end])
            if asked is None:
                self._hand_over()
                return
            self._head = end
        total = self._head + asked.request.length
        if len(buffer) < total:
            self._asked = asked
            return
        self._asked, self._buffer = None, buffer[total:]
        self.closes = self._leaving or asked.request.closes
        way = self._way
        exchange = Exchange(self, asked, buffer[self._head : total], way.delivery, way.pods)
        self._exchange = exchange
        exchange.start()

    def _hand_over(self) -> None:
        """From here on the connection is somebody else's."""
        assert self._transport is not None
        self._way.clients.left(self)
        if self._idle is not None:
            self._idle.cancel()
        other = self._otherwise()
        self._transport.set_protocol(other)
        other.connection_made(self._transport)
        other.data_received(self._buffer)

    def _watch(self) -> None:
        """Closes a connection by which nothing came for long."""
        loop = self._loop
        came, self._seen = len(self._buffer) != self._seen, len(self._buffer)
        if self._exchange is None and not came and loop.time() - self._used > _IDLE_SECONDS:
            if self._paused or self._buffer:
                self.abort()
            else:
                self.leave()
            return
        self._idle = loop.call_later(_IDLE_SECONDS, self._watch)


@lru_cache(maxsize=1000)
def _is_this_machine(host: str) -> bool:
    """Whether a host is none that somebody's name server could have turned to this machine."""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
