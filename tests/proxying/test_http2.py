"""What a client may do to a connection of HTTP/2, and what ends it, frame by frame."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    SettingsFrame,
)

from kubeling.proxying.http2.connection import Connection
from kubeling.proxying.http2.stream import Headers, Stream

REQUEST = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "m")]
ANSWER: Headers = [(b":status", b"200")]
MIB = 1 << 20


@dataclass
class Asked:
    """A request that is answered once all of it is there, with nothing but a status."""

    stream: Stream
    broken: bool = False

    def received_headers(self, headers: Headers, ended: bool) -> None:
        self.received_data(b"", ended)

    def received_data(self, data: bytes, ended: bool) -> None:
        self.stream.consumed(len(data))
        if ended:
            self.stream.send_headers(ANSWER, ended=True)

    def broke(self, code: int, untouched: bool) -> None:
        self.broken = True


@dataclass
class Client:
    """A client that sends what frames it likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    h2: H2Connection = field(default_factory=lambda: H2Connection(H2Configuration()))

    def begin(self) -> None:
        self.h2.initiate_connection()
        self.send()

    def send(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def ask(self, *, ended: bool = True) -> int:
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, REQUEST, end_stream=ended)
        self.send()
        return number

    async def hear(self) -> list[events.Event]:
        """What comes next; raises ``EOFError`` at the end of the connection."""
        async with asyncio.timeout(30):
            data = await self.reader.read(1 << 18)
        if not data:
            raise EOFError
        found = self.h2.receive_data(data)
        self.send()
        return found

    async def until(self, kind: type[events.Event]) -> events.Event:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                for event in await self.hear():
                    if isinstance(event, kind):
                        return event
        raise AssertionError(f"the connection ended before {kind.__name__}")

    async def told_to_go(self) -> int:
        """The error that the connection ends with."""
        gone = await self.until(events.ConnectionTerminated)
        assert isinstance(gone, events.ConnectionTerminated)
        return int(gone.error_code or 0)


@dataclass
class Server:
    """Connections, and what was asked by them."""

    client: Client
    asked: list[Asked]


@contextlib.asynccontextmanager
async def serving(
    silent_seconds: float = 30.0, answer: Callable[[Stream], None] | None = None
) -> AsyncIterator[Server]:
    """A server with one client."""
    asked: list[Asked] = []

    def opened(stream: Stream, headers: Headers, ended: bool) -> Asked:
        found = Asked(stream)
        asked.append(found)
        if answer is not None:
            answer(stream)
        else:
            found.received_data(b"", ended)
        return found

    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(opened, silent_seconds=silent_seconds), "127.0.0.1", 0
    )
    async with server:
        where = server.sockets[0].getsockname()
        client = Client(*await asyncio.open_connection(*where))
        client.begin()
        yield Server(client, asked)
        client.writer.close()


async def test_what_waits_for_a_slow_reader_is_bounded() -> None:
    async with serving() as server:
        await server.client.until(events.RemoteSettingsChanged)
        told = server.client.h2.remote_settings
        assert told.initial_window_size * (told.max_concurrent_streams or 0) <= 64 * MIB


async def test_streams_beyond_the_limit_are_refused_and_the_others_go_on() -> None:
    async with serving() as server:
        client = server.client
        client.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        client.h2.remote_settings.acknowledge()
        first = client.ask(ended=False)
        for _ in range(150):
            client.ask(ended=False)
        refused = await client.until(events.StreamReset)
        assert isinstance(refused, events.StreamReset)
        assert refused.error_code == ErrorCodes.REFUSED_STREAM
        client.h2.end_stream(first)
        client.send()
        answered = await client.until(events.ResponseReceived)
        assert isinstance(answered, events.ResponseReceived)
        assert answered.stream_id == first
        assert len(server.asked) == 128


async def test_streams_that_are_reset_at_once_end_the_connection() -> None:
    async with serving() as server:
        client = server.client
        for _ in range(5000):
            number = client.h2.get_next_available_stream_id()
            client.h2.send_headers(number, REQUEST)
            client.h2.reset_stream(number, ErrorCodes.CANCEL)
        client.send()
        assert await client.told_to_go() == ErrorCodes.ENHANCE_YOUR_CALM
        assert len(server.asked) < 2000
        assert all(one.broken for one in server.asked)


def ping(_: int) -> Frame:
    return PingFrame(0, opaque_data=b"12345678")


def settings(_: int) -> Frame:
    return SettingsFrame(0, settings={SettingCodes.INITIAL_WINDOW_SIZE: 65535})


def priority(stream: int) -> Frame:
    return PriorityFrame(stream, stream_weight=1)


def nothing(stream: int) -> Frame:
    return DataFrame(stream)


@pytest.mark.parametrize("frame", [ping, settings, priority, nothing])
async def test_floods_of_frames_that_say_nothing_end_the_connection(
    frame: Callable[[int], Frame],
) -> None:
    async with serving() as server:
        number = server.client.ask(ended=False)
        server.client.writer.write(frame(number).serialize() * 30_000)
        assert await server.client.told_to_go() == ErrorCodes.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("size", [0, 1 << 14])
async def test_headers_without_an_end_end_the_connection(size: int) -> None:
    async with serving() as server:
        begun = HeadersFrame(1, data=b"")
        more = ContinuationFrame(1, data=b"\x00" * size)
        server.client.writer.write(begun.serialize() + more.serialize() * 80)
        assert await server.client.told_to_go() != ErrorCodes.NO_ERROR
        assert not server.asked


async def test_pings_beside_data_are_welcome() -> None:
    async with serving() as server:
        client = server.client
        number = client.ask(ended=False)
        both = DataFrame(number, data=b"x").serialize() + ping(0).serialize()
        for _ in range(20):
            client.writer.write(both * 1000)
            await client.writer.drain()
            await client.hear()
        client.writer.write(DataFrame(number, flags=["END_STREAM"]).serialize())
        await client.until(events.ResponseReceived)


async def test_a_client_may_open_its_windows_bit_by_bit() -> None:
    size = 32 * MIB

    def answer(stream: Stream) -> None:
        stream.send_headers(ANSWER)
        stream.send_data(bytes(size), True)

    async with serving(answer=answer) as server:
        client, heard = server.client, 0
        number = client.ask()
        while heard < size:
            for event in await client.hear():
                if isinstance(event, events.DataReceived):
                    heard += len(event.data)
                    for read in range(0, len(event.data), 4096):
                        update = min(4096, len(event.data) - read)
                        client.h2.increment_flow_control_window(update)
                        if heard < size:
                            client.h2.increment_flow_control_window(update, number)
            client.send()


async def test_a_client_that_is_gone_is_noticed() -> None:
    async with serving(silent_seconds=0.1) as server:
        server.client.ask(ended=False)
        async with asyncio.timeout(30):
            while not server.asked or not server.asked[0].broken:
                assert await server.client.reader.read(1 << 16) or server.asked[0].broken


async def test_a_client_that_says_that_it_is_there_stays() -> None:
    async with serving(silent_seconds=0.5) as server:
        number = server.client.ask(ended=False)
        for _ in range(3):
            await server.client.until(events.PingReceived)
        server.client.h2.end_stream(number)
        server.client.send()
        await server.client.until(events.ResponseReceived)


async def test_a_client_that_only_reads_and_that_slowly_stays() -> None:
    size = 24 * MIB

    def answer(stream: Stream) -> None:
        stream.send_headers(ANSWER)
        stream.send_data(bytes(size), True)

    async with serving(silent_seconds=0.2, answer=answer) as server:
        client = server.client
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: (1 << 31) - 1})
        client.h2.increment_flow_control_window(1 << 30)
        client.ask()
        heard = 0
        while heard < size // 2:
            data = await client.reader.read(1 << 16)
            assert data, "the connection ended"
            heard += len(data)
            await asyncio.sleep(0.004)


async def test_no_more_is_written_than_a_client_reads() -> None:
    size, sent, begun = 32 * MIB, 0, asyncio.Event()

    def count(more: int) -> None:
        nonlocal sent
        sent += more
        begun.set()

    def answer(stream: Stream) -> None:
        stream.send_headers(ANSWER)
        stream.send_data(bytes(size), True, count)

    async with serving(answer=answer) as server:
        client = server.client
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: (1 << 31) - 1})
        client.h2.increment_flow_control_window(1 << 30)
        client.ask()
        await begun.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert sent < size // 2
        heard = 0
        while heard < size:
            found = await client.hear()
            heard += sum(len(e.data) for e in found if isinstance(e, events.DataReceived))
        assert sent == size
