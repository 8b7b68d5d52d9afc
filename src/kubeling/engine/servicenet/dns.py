"""The pods' name server: the cluster's names from caches, all others from the machine's servers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from kubeling.engine.servicenet.sockets import listener, receiver
from kubeling.engine.servicenet.zone import Answer, Zone

if TYPE_CHECKING:
    from dnslib import RR, DNSRecord

__all__ = ["DnsServer", "dns_sockets", "respond"]

_SECONDS_TO_LIVE: Final = 5
_FORWARD_SECONDS: Final = 3.0
_MAX_UDP: Final = 1232
_ADDRESS, _SERVERS, _ALIAS, _AUTHORITY, _POINTER, _TEXT = 1, 2, 5, 6, 12, 16
_SERVICE, _OPTIONS, _ANY = 33, 41, 255
_LEAST_UDP: Final = 512
_SERIAL: Final = 1
_NO_SUCH_NAME: Final = 3
_CANNOT: Final = 2


def dns_sockets(
    address: str, port: int = 53, *, early: bool = False
) -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket at the address; raises :class:`OSError`."""
    packets = receiver(address, port, early=early)
    try:
        streams = listener(address, packets.getsockname()[1], early=early)
    except OSError:
        packets.close()
        raise
    return packets, streams


def respond(zone: Zone, query: DNSRecord) -> DNSRecord | None:
    """The answer to a query about the cluster's names and addresses; ``None`` for any other."""
    name = _name(query)
    answer = zone.reverse(name)
    if answer is None and not zone.holds(name):
        return None
    if answer is None:
        answer = zone.lookup(name)
    reply = query.reply()
    if answer is None:
        reply.header.rcode = _NO_SUCH_NAME
    else:
        _fill(reply, answer)
        if name == zone.domain:
            _add_authority(reply, zone)
    if not reply.rr:
        reply.add_auth(_start_of_authority(zone))
    return reply


def _name(query: DNSRecord) -> str:
    return str(query.q.qname).rstrip(".").lower()


def _fill(reply: DNSRecord, answer: Answer) -> None:
    from dnslib import CNAME, PTR, QTYPE, RR, SRV, TXT, A

    wanted, shown = reply.q.qtype, reply.q.qname

    def add(kind: int, data: object) -> None:
        if wanted in (kind, _ANY) or kind == _ALIAS:
            reply.add_answer(RR(shown, kind, ttl=_SECONDS_TO_LIVE, rdata=data))

    if answer.alias:
        add(_ALIAS, CNAME(answer.alias))
    for address in _shuffled(answer):
        add(_ADDRESS, A(address))
    for name in answer.names:
        add(_POINTER, PTR(name))
    if answer.text:
        add(_TEXT, TXT(answer.text))
    for port, target in answer.services:
        add(_SERVICE, SRV(0, 100, port, target))
    if wanted in (_SERVICE, _ANY):
        for target, address in answer.extra.items():
            reply.add_ar(RR(target, QTYPE.A, ttl=_SECONDS_TO_LIVE, rdata=A(address)))


def _add_authority(reply: DNSRecord, zone: Zone) -> None:
    from dnslib import NS, QTYPE, RR

    if reply.q.qtype in (_AUTHORITY, _ANY):
        reply.add_answer(_start_of_authority(zone))
    if reply.q.qtype in (_SERVERS, _ANY):
        server = RR(zone.domain, QTYPE.NS, ttl=_SECONDS_TO_LIVE, rdata=NS(zone.server_name))
        reply.add_answer(server)


def _start_of_authority(zone: Zone) -> RR:
    """Says for how long the absence of a name may be remembered."""
    from dnslib import QTYPE, RR, SOA

    times = (_SERIAL, 7200, 1800, 86400, _SECONDS_TO_LIVE)
    data = SOA(zone.server_name, f"hostmaster.{zone.domain}", times)
    return RR(zone.domain, QTYPE.SOA, ttl=_SECONDS_TO_LIVE, rdata=data)


class DnsServer(asyncio.DatagramProtocol):
    """Answers on the two sockets until it is closed.

    While ``complete`` says that not all names are known, a query about one that may come is left
    without an answer: whoever asked repeats it, and would take a "no" for final.
    """

    def __init__(
        self, zone: Zone, upstream: list[str], complete: Callable[[], bool] = lambda: True
    ) -> None:
        self._zone = zone
        self._upstream = upstream
        self._complete = complete
        self._packets: asyncio.DatagramTransport | None = None
        self._streams: asyncio.Server | None = None
        self._answering: set[asyncio.Task[None]] = set()

    async def start(self, packets: socket.socket, streams: socket.socket) -> None:
        """Begins to answer."""
        loop = asyncio.get_running_loop()
        self._packets, _ = await loop.create_datagram_endpoint(lambda: self, sock=packets)
        self._streams = await asyncio.start_server(self._on_stream, sock=streams)

    async def close(self) -> None:
        """Stops answering."""
        if self._packets is not None:
            self._packets.close()
        if self._streams is not None:
            self._streams.close()
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.get_running_loop().create_task(self._on_packet(data, addr))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _on_packet(self, data: bytes, sender: tuple[str, int]) -> None:
        answer = await self._answer(data, stream=False)
        if answer and self._packets is not None and not self._packets.is_closing():
            self._packets.sendto(answer, sender)

    async def _on_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                answer = await self._answer(await reader.readexactly(length), stream=True)
                if not answer:
                    break
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        writer.close()

    async def _answer(self, data: bytes, *, stream: bool) -> bytes:
        from dnslib import DNSError, DNSRecord

        try:
            query = DNSRecord.parse(data)
            own = respond(self._zone, query)
        except (DNSError, UnicodeDecodeError):
            return b""
        if own is None:
            return await self._forward(data, query, stream=stream)
        if not self._complete() and not own.rr and self._may_come(query):
            return b""
        if (alias := _alias(own)) and query.q.qtype != _ALIAS:
            await self._follow(own, alias)
        return _packed(own, query, stream=stream)

    def _may_come(self, query: DNSRecord) -> bool:
        name = _name(query)
        answer = self._zone.lookup(name)
        return (answer is None or not answer.addresses) and self._zone.may_come(name)

    async def _follow(self, reply: DNSRecord, alias: str) -> None:
        """Adds what the alias stands for, as a stub resolver expects of its server."""
        from dnslib import QTYPE, DNSError, DNSRecord

        question = DNSRecord.question(alias, QTYPE[reply.q.qtype])
        with contextlib.suppress(DNSError):
            reply.add_answer(*DNSRecord.parse(await self._answer(question.pack(), stream=True)).rr)

    async def _forward(self, data: bytes, query: DNSRecord, *, stream: bool) -> bytes:
        for server in self._upstream:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(_FORWARD_SECONDS):
                    if stream:
                        return await _ask_by_stream(server, data)
                    return await _ask_by_packet(server, data)
        reply = query.reply()
        reply.header.rcode = _CANNOT
        return bytes(reply.pack())


def _packed(reply: DNSRecord, query: DNSRecord, *, stream: bool) -> bytes:
    """The answer in bytes, cut where the asker cannot take all of it by packet."""
    from dnslib import EDNS0

    options = next((record for record in query.ar if record.rtype == _OPTIONS), None)
    limit = _LEAST_UDP
    if options is not None:
        limit = max(_LEAST_UDP, min(options.edns_len, _MAX_UDP))
        reply.add_ar(EDNS0(udp_len=_MAX_UDP))
    packed = bytes(reply.pack())
    if not stream and len(packed) > limit:
        return bytes(reply.truncate().pack())
    return packed


def _alias(reply: DNSRecord) -> str:
    return next((str(record.rdata.label) for record in reply.rr if record.rtype == _ALIAS), "")


def _shuffled(answer: Answer) -> list[str]:
    return random.sample(answer.addresses, len(answer.addresses))


async def _ask_by_packet(server: str, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.connect((server, 53))
        await loop.sock_sendall(channel, data)
        while True:
            answer = await loop.sock_recv(channel, 65535)
            if answer[:2] == data[:2]:
                return answer


async def _ask_by_stream(server: str, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, 53)
    try:
        writer.write(struct.pack("!H", len(data)) + data)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        return await reader.readexactly(length)
    finally:
        writer.close()
