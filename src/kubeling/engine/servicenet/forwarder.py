"""Carries TCP connections and UDP packets to one of several places.

User space is slower than the kernel's address translation but needs no privileges, works the same
everywhere, and an endpoint that does not answer is passed over instead of failing the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Final

from kubeling.engine.servicenet.backends import Backends
from kubeling.engine.servicenet.routes import Address
from kubeling.engine.servicenet.sockets import BACKLOG, listener, receiver

__all__ = ["TcpForwarder", "UdpForwarder"]

_CHUNK: Final = 1 << 16
_CONNECT_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 0.2
_UDP_IDLE_SECONDS: Final = 60.0


class TcpForwarder:
    """Listens at one address. Changing ``backends`` affects new connections only.

    While ``patient`` says so, a caller that is led nowhere is kept waiting, not refused.
    """

    def __init__(self, backends: Backends, patient: Callable[[], bool] = lambda: False) -> None:
        self.backends = backends
        self._patient = patient
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int, *, early: bool = False) -> None:
        """Begins to listen, ``early`` at an address still to come; raises :class:`OSError`."""
        channel = listener(host, port, early=early)
        self._server = await asyncio.start_server(self._accept, sock=channel, backlog=BACKLOG)

    async def stop(self) -> None:
        """Stops listening and ends the connections."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._carry(reader, writer)
        except asyncio.CancelledError:
            # Only stop() cancels, and it waits for us: there is nobody to tell.
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = writer.get_extra_info("peername")[0]
        patient = self._patient()
        while (far := await self._lead(source)) is None:
            if not patient or writer.is_closing():
                _reset(writer)
                return
            await asyncio.sleep(_AGAIN_SECONDS)
            patient = self._patient()
        far_reader, far_writer = far
        try:
            await _both_ways(reader, writer, far_reader, far_writer)
        finally:
            far_writer.transport.abort()

    async def _lead(self, source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for place in self.backends.for_caller(source):
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    far = await asyncio.open_connection(*place)
            except (OSError, TimeoutError):
                continue
            self.backends.led(source, place)
            return far
        return None


async def _both_ways(
    near_reader: asyncio.StreamReader,
    near_writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_one_way(near_reader, far_writer))
        group.create_task(_one_way(far_reader, near_writer))


async def _one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies until the end, and passes the end on: the other direction may go on."""
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()
            await writer.drain()
    except OSError:
        writer.transport.abort()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Makes the end of the connection an error for the caller, not an empty answer."""
    channel = writer.get_extra_info("socket")
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class UdpForwarder(asyncio.DatagramProtocol):
    """Listens for packets at one address; each sender keeps its place while it sends."""

    def __init__(self, backends: Backends) -> None:
        self.backends = backends
        self._near: asyncio.DatagramTransport | None = None
        self._far: dict[Address, asyncio.DatagramTransport] = {}
        self._idle: dict[Address, asyncio.TimerHandle] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._early: dict[Address, list[bytes]] = {}

    async def start(self, host: str, port: int, *, early: bool = False) -> None:
        """Begins to listen, ``early`` at an address still to come; raises :class:`OSError`."""
        loop = asyncio.get_running_loop()
        channel = receiver(host, port, early=early)
        self._near, _ = await loop.create_datagram_endpoint(lambda: self, sock=channel)

    async def stop(self) -> None:
        if self._near is not None:
            self._near.close()
        for task in self._opening:
            task.cancel()
        for sender in list(self._far):
            self._close(sender)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if (far := self._far.get(addr)) is not None:
            far.sendto(data)
            self._touch(addr)
            return
        if (waiting := self._early.get(addr)) is not None:
            waiting.append(data)
            return
        self._early[addr] = [data]
        task = asyncio.get_running_loop().create_task(self._open(addr))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def answer(self, data: bytes, sender: Address) -> None:
        """Sends an answer back to whoever asked."""
        if self._near is not None and not self._near.is_closing():
            self._near.sendto(data, sender)
            self._touch(sender)

    async def _open(self, sender: Address) -> None:
        """Finds a sender its place; what it sends meanwhile goes there too."""
        try:
            await self._lead(sender)
        finally:
            del self._early[sender]

    async def _lead(self, sender: Address) -> None:
        places = self.backends.for_caller(sender[0])
        if not places:
            return
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            far, _ = await loop.create_datagram_endpoint(
                lambda: _Answers(self, sender), remote_addr=places[0]
            )
            self._far[sender] = far
            self.backends.led(sender[0], places[0])
            for data in self._early[sender]:
                far.sendto(data)
            self._touch(sender)

    def _touch(self, sender: Address) -> None:
        if timer := self._idle.pop(sender, None):
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._idle[sender] = loop.call_later(_UDP_IDLE_SECONDS, self._close, sender)

    def _close(self, sender: Address) -> None:
        if timer := self._idle.pop(sender, None):
            timer.cancel()
        if far := self._far.pop(sender, None):
            far.close()


class _Answers(asyncio.DatagramProtocol):
    """The far side of one sender."""

    def __init__(self, forwarder: UdpForwarder, sender: Address) -> None:
        self._forwarder = forwarder
        self._sender = sender

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._forwarder.answer(data, self._sender)
