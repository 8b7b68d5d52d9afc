"""What the model server takes and answers as HTTP, byte by byte."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import zlib
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.http import Request, Response, listening


async def echo(request: Request) -> Response:
    """Answers with what it was asked."""
    if request.path == "/slow":
        await asyncio.sleep(0.05)
    if request.path == "/bad":
        raise InvalidInput("this cannot be")
    if request.path == "/broken":
        raise KeyError("x")
    return _echoed(request)


def _echoed(request: Request) -> Response:
    return Response(f"{request.method} {request.path} ".encode() + request.body, 200, "text/plain")


def echo_soon(request: Request, answer: Callable[[Response], None]) -> bool:
    """Answers the same without a task, and leaves to :func:`echo` what takes or fails."""
    if request.method != "POST" or request.path in ("/slow", "/bad", "/broken"):
        return False
    asyncio.get_running_loop().call_soon(answer, _echoed(request))
    return True


def echo_now(request: Request, answer: Callable[[Response], None]) -> bool:
    """As :func:`echo_soon`, before it returns."""
    if request.method != "POST" or request.path in ("/slow", "/bad", "/broken"):
        return False
    answer(_echoed(request))
    return True


@pytest.fixture(params=[None, echo_soon, echo_now], ids=["tasks", "soon", "now"])
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    async with listening(echo, immediately=request.param) as found:
        yield found


async def talk(port: int, sent: bytes) -> bytes:
    """What a server answers until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


LAST = b"GET /last HTTP/1.1\r\nConnection: close\r\n\r\n"


async def test_requests_sent_at_once_are_answered_in_order(port: int) -> None:
    several = b"".join(
        b"POST /%s HTTP/1.1\r\nContent-Length: 1\r\n\r\n%d" % (path, number)
        for number, path in enumerate([b"slow", b"a%20b", b"slow?x=1", b"c"])
    )
    found = await talk(port, several + LAST)
    bodies = [part.partition(b"\r\n\r\n")[2] for part in found.split(b"HTTP/1.1 200 OK")[1:]]
    wanted = [b"POST /slow 0", b"POST /a b 1", b"POST /slow 2", b"POST /c 3", b"GET /last "]
    assert bodies == wanted


async def test_bodies_come_in_pieces_or_compressed(port: int) -> None:
    pieces = (
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    packed = gzip.compress(b"squeezed")
    head = b"POST /b HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    found = await talk(port, pieces + head % len(packed) + packed + LAST)
    assert b"POST /a abcde" in found
    assert b"POST /b squeezed" in found


@pytest.mark.parametrize(
    ("encoding", "body", "expected"),
    [
        ("GZIP", gzip.compress(b"one", mtime=0), b"POST /a one"),
        ("x-gzip", gzip.compress(b"one", mtime=0), b"POST /a one"),
        (
            "gzip",
            gzip.compress(b"one", mtime=0) + gzip.compress(b" two", mtime=0),
            b"POST /a one two",
        ),
        ("deflate", zlib.compress(b"one"), b"POST /a one"),
        ("gzip", gzip.compress(b"one", mtime=0)[:-3], b"the body ends before its gzip does"),
        ("gzip", gzip.compress(b"one", mtime=0) + b"rest", b"not valid gzip"),
        ("gzip", gzip.compress(b"", mtime=0) * 100, b"more than 64 parts"),
    ],
)
async def test_a_packed_body_is_taken_whole_or_not_at_all(
    port: int, encoding: str, body: bytes, expected: bytes
) -> None:
    head = (
        f"POST /a HTTP/1.1\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    assert expected in await talk(port, head.encode() + body + LAST)


async def test_who_asks_first_whether_a_body_is_welcome_is_told(port: int) -> None:
    head = b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n"
    found = await talk(port, head + b"\r\nhi")
    assert found.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("header", "status"), [(b"X: y", b"200"), (b"Content-Encoding: y", b"400")]
)
async def test_head_is_answered_without_a_body(port: int, header: bytes, status: bytes) -> None:
    found = await talk(port, b"HEAD /a HTTP/1.1\r\nConnection: close\r\n%s\r\n\r\n" % header)
    assert found.startswith(b"HTTP/1.1 " + status)
    assert b"content-length: 0" not in found
    assert found.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        (b"nonsense\r\n\r\n", 400, b"not an HTTP request"),
        (b"GET /bad HTTP/1.1\r\n\r\n" + LAST, 400, b"this cannot be"),
        (b"GET /broken HTTP/1.1\r\n\r\n" + LAST, 500, b"KeyError: 'x'"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 600_000, 413, b"headers are larger"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413, b"body is larger"),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            b"not",
        ),
        (
            b"POST / HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi" + LAST,
            400,
            b"not valid gzip",
        ),
        (
            b"POST / HTTP/1.1\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nhi" + LAST,
            400,
            b"send gzip, deflate or none",
        ),
    ],
)
async def test_what_cannot_be_taken_is_said(
    port: int, sent: bytes, status: int, message: bytes
) -> None:
    found = await talk(port, sent)
    assert found.startswith(b"HTTP/1.1 %d " % status)
    assert message in found


async def test_requests_under_way_are_answered_before_the_server_ends() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def waits(_: Request) -> Response:
        asked.set()
        await go_on.wait()
        return Response(b"done")

    async with listening(waits) as port:
        answer = asyncio.create_task(talk(port, b"GET / HTTP/1.1\r\n\r\n"))
        idle = asyncio.create_task(talk(port, b""))
        await asked.wait()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
    assert (await answer).endswith(b"done")
    assert await idle == b""


async def test_a_connection_without_requests_is_closed() -> None:
    async with listening(echo, keep_alive=0.05) as port:
        assert await talk(port, b"") == b""


HEADERS = (b"", b"X-A: 1\r\n", b"X-Request-Id: 7\r\n", b"x-a: 1\r\nX-A: 2\r\n", b"\tfolded: 1\r\n")
BODIES = st.sampled_from([b"", b"a", b"ab", b"\r\n\r\n", b"POST /a HTTP/1.1\r\n\r\n"])
SENT = st.lists(
    st.builds(
        lambda path, headers, body: (
            b"POST /%b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b"
            % (path, headers, len(body), body)
        ),
        st.sampled_from([b"a", b"b"]),
        st.sampled_from(HEADERS),
        BODIES,
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(SENT, st.lists(st.integers(1, 200), max_size=4))
def test_a_head_that_was_seen_before_is_read_as_the_first_time(
    requests: list[bytes], cuts: list[int]
) -> None:
    """Whole requests one by one, so that their heads are known, then all of it in pieces."""

    async def answers(immediately: Callable[..., bool] | None) -> list[bytes]:
        async with listening(echo, immediately=immediately) as port:
            return [
                await talk_in_pieces(port, [*requests, *requests, LAST]),
                await talk_in_pieces(port, [*cut(b"".join(requests), cuts), LAST]),
            ]

    assert asyncio.run(answers(echo_now)) == asyncio.run(answers(None))


def cut(sent: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place for place in places if place < len(sent)), len(sent)]
    return [sent[a:b] for a, b in itertools.pairwise(bounds)]


async def talk_in_pieces(port: int, pieces: list[bytes]) -> bytes:
    """What a server answers to pieces that it mostly reads one by one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()
