"""Answers that the model server sends piece by piece."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp
import pytest

from kubeling.serving.server.http import Request, Response, StreamedResponse, listening


class Counting:
    """Streams numbers, and remembers how far it came and whether it was ended."""

    def __init__(self) -> None:
        self.sent = 0
        self.ended = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, request: Request) -> Response | StreamedResponse:
        if request.path == "/whole":
            return Response(b"whole")
        return StreamedResponse(getattr(self, request.path.strip("/"))())

    async def three(self) -> AsyncGenerator[bytes, None]:
        for number in (b"1", b"", b"2", b"3"):
            yield number

    async def broken(self) -> AsyncGenerator[bytes, None]:
        yield b"1"
        raise ValueError("no more")

    async def endless(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                self.sent += 1
                yield b"x" * 100_000
        finally:
            self.ended.set()

    async def waiting(self) -> AsyncGenerator[bytes, None]:
        try:
            yield b"1"
            await self.go_on.wait()
            yield b"2"
        finally:
            self.ended.set()


@contextlib.asynccontextmanager
async def answering(counting: Counting) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        listening(counting) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield client


async def test_pieces_come_as_they_are_made_and_the_connection_is_kept() -> None:
    counting = Counting()
    async with answering(counting) as client:
        async with client.get("/waiting") as answer:
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert await answer.content.readexactly(1) == b"1"
            counting.go_on.set()
            assert await answer.read() == b"2"
        for path, whole in (("/three", b"123"), ("/whole", b"whole")):
            async with client.get(path) as answer:
                assert await answer.read() == whole
                assert "connection" not in answer.headers


async def test_a_client_of_http_1_0_is_answered_until_the_connection_ends() -> None:
    async with listening(Counting()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /three HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == b"123"


async def test_an_answer_that_breaks_off_looks_broken() -> None:
    async with answering(Counting()) as client, client.get("/broken") as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_a_client_that_goes_away_ends_what_makes_the_pieces() -> None:
    counting = Counting()
    async with answering(counting) as client:
        async with client.get("/waiting") as answer:
            await answer.content.readexactly(1)
            answer.close()
        async with asyncio.timeout(20):
            await counting.ended.wait()


async def test_a_client_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubeling.serving.server.http._PATIENCE", 0.1)
    counting = Counting()
    async with listening(counting) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
        writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(20):
            await counting.ended.wait()
        writer.transport.abort()


async def test_no_more_is_made_than_the_client_takes() -> None:
    counting = Counting()
    async with listening(counting) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
        writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(1000)
        before = -1
        while before != counting.sent:
            before = counting.sent
            await asyncio.sleep(0.05)
        assert counting.sent < 1000
        writer.transport.abort()
        async with asyncio.timeout(20):
            await counting.ended.wait()
