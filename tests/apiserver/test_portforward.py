"""Connections into pods: kubectl's tunnel and the plain channels of other clients."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from tests.support.wire import StreamWire, stream_wire

from kubeling.apiserver.spdy import (
    Data,
    Frame,
    Ping,
    Reset,
    SpdyDecoder,
    SpdyEncoder,
    SynReply,
    SynStream,
)

TUNNEL = "SPDY/3.1+portforward.k8s.io"
CHANNELS = "v4.channel.k8s.io"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def wire() -> AsyncIterator[StreamWire]:
    async with stream_wire() as opened:
        yield opened


@contextlib.asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """Something that listens on a port; gives the port."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers in capitals once the client has said all."""
    writer.write((await reader.read()).upper())
    await writer.drain()
    writer.close()


class Kubectl:
    """kubectl's end of a tunnel."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self._encoder, self._decoder = SpdyEncoder(), SpdyDecoder()
        self.frames: list[Frame] = []

    async def send(self, *frames: Frame) -> None:
        for frame in frames:
            await self.socket.send_bytes(self._encoder.encode(frame))

    async def open(self, port: int, request: str = "0", first: int = 1) -> None:
        named = {"port": str(port), "requestid": request}
        await self.send(
            SynStream(first, {"streamtype": "error", **named}, fin=True),
            SynStream(first + 2, {"streamtype": "data", **named}),
        )

    async def until(self, *awaited: Frame) -> None:
        """Waits until all of the frames have come."""
        async with asyncio.timeout(10):
            while not all(frame in self.frames for frame in awaited):
                message = await self.socket.receive()
                assert message.type is aiohttp.WSMsgType.BINARY, message
                self.frames += self._decoder.feed(message.data)

    def data(self, stream: int) -> bytes:
        found = (f for f in self.frames if isinstance(f, Data) and f.stream == stream)
        return b"".join(frame.data for frame in found)


async def tunnel(wire: StreamWire) -> Kubectl:
    return Kubectl(await wire.socket("portforward", "", TUNNEL))


async def test_the_tunnel_carries_both_ways_and_half_closes(wire: StreamWire) -> None:
    async with listening(shout) as port:
        kubectl = await tunnel(wire)
        assert kubectl.socket.protocol == TUNNEL
        await kubectl.open(port)
        await kubectl.send(Data(3, b"a "), Data(3, b"b", fin=True))
        ends = (Data(3, b"", fin=True), Data(1, b"", fin=True))
        await kubectl.until(SynReply(1), SynReply(3), *ends)
        assert kubectl.data(3) == b"A B"
        await kubectl.socket.close()


async def test_connections_share_a_tunnel(wire: StreamWire) -> None:
    async with listening(shout) as port:
        kubectl = await tunnel(wire)
        for number in range(5):
            await kubectl.open(port, str(number), first=1 + 4 * number)
        for number in reversed(range(5)):
            await kubectl.send(Data(3 + 4 * number, b"n%d" % number, fin=True))
            await kubectl.until(Data(1 + 4 * number, b"", fin=True))
            assert kubectl.data(3 + 4 * number) == b"N%d" % number
        await kubectl.send(Ping(7))
        await kubectl.until(Ping(7))
        await kubectl.socket.close()


async def test_a_closed_port_is_told_on_the_error_stream(wire: StreamWire) -> None:
    async with listening(shout) as port:
        pass
    kubectl = await tunnel(wire)
    await kubectl.open(port)
    error = Data(1, f"nothing listens on port {port} of p".encode(), fin=True)
    await kubectl.until(Data(3, b"", fin=True), error)
    await kubectl.socket.close()


async def test_large_transfers_wait_for_the_pod_instead_of_filling_memory(
    wire: StreamWire,
) -> None:
    go = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(str(len(await reader.read())).encode())
        writer.close()

    async with listening(slow) as port:
        kubectl = await tunnel(wire)
        await kubectl.open(port)
        piece = Data(3, b"x" * 65536)
        sending = asyncio.create_task(kubectl.send(*[piece] * 800, Data(3, b"", fin=True)))
        _, pending = await asyncio.wait([sending], timeout=1)
        assert pending, "50 MB were taken although the pod reads nothing"
        go.set()
        await sending
        await kubectl.until(Data(1, b"", fin=True))
        assert kubectl.data(3) == b"52428800"
        await kubectl.socket.close()


async def test_a_reset_of_the_client_ends_the_connection(wire: StreamWire) -> None:
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        ended.set()

    async with listening(talk) as port:
        kubectl = await tunnel(wire)
        await kubectl.open(port)
        await kubectl.until(Data(3, b"hello"))
        await kubectl.send(Reset(3))
        await kubectl.until(Data(1, b"", fin=True))
        await asyncio.wait_for(ended.wait(), 10)
        await kubectl.socket.close()


@pytest.mark.parametrize("protocol", [TUNNEL, CHANNELS])
async def test_a_client_that_goes_away_leaves_no_connection(
    wire: StreamWire, protocol: str
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        ended.set()

    async with listening(wait) as port:
        socket = await wire.socket("portforward", f"ports={port}", protocol)
        if protocol == TUNNEL:
            await Kubectl(socket).open(port)
        async with asyncio.timeout(10):
            await begun.wait()
            transport = socket._response.connection.transport  # type: ignore[union-attr]
            transport.abort()
            await ended.wait()


async def test_streams_that_make_no_sense_are_reset(wire: StreamWire) -> None:
    kubectl = await tunnel(wire)
    await kubectl.send(SynStream(1, {"streamtype": "data", "port": "70000"}))
    await kubectl.until(Reset(1, 1))
    await kubectl.socket.send_bytes(bytes.fromhex("8002000600000004") + b"SPDY")
    async with asyncio.timeout(10):
        while not (await kubectl.socket.receive()).type.name.startswith("CLOS"):
            pass
    assert kubectl.socket.close_code == aiohttp.WSCloseCode.PROTOCOL_ERROR


async def test_plain_channels_name_their_port_first(wire: StreamWire) -> None:
    async with listening(shout) as port, listening(shout) as other:
        pass

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(2))
        writer.close()

    async with listening(echo) as port:
        socket = await wire.socket("portforward", f"ports={port},{other}", CHANNELS)
        await socket.send_bytes(b"\x00hi")
        found: dict[int, bytes] = {}
        async for message in socket:
            found[message.data[0]] = found.get(message.data[0], b"") + message.data[1:]
        first, second = port.to_bytes(2, "little"), other.to_bytes(2, "little")
        refused = f"nothing listens on port {other} of p".encode()
        assert found == {0: first + b"hi", 1: first, 2: second, 3: second + refused}
