"""What a server of gRPC answers to calls as they are on the wire."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from tests.support.load import connect_at_once

from kubeling.rpc.calls import Code, Limits, Method
from kubeling.rpc.server import serving
from kubeling.rpc.wire import Message, text

HEADERS = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "/test.Echo/Say",
    ":authority": "x",
    "te": "trailers",
    "content-type": "application/grpc",
}


class Said(Message):
    words: str = text(1)


SAY = Method("test.Echo", "Say", Said, Said)
WAIT = Method("test.Echo", "Wait", Said, Said)
STOP = Method("test.Echo", "Stop", Said, Said)


async def echo(asked: Said) -> Said:
    return asked


async def wait(_: Said) -> Said:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def stop(asked: Said) -> Said:
    waited_for = asyncio.create_task(wait(asked))
    asyncio.get_running_loop().call_soon(waited_for.cancel)
    return await waited_for


def framed(message: bytes, compressed: bool = False) -> bytes:
    return bytes([compressed]) + len(message).to_bytes(4, "big") + message


HELLO = framed(Said("hello").to_bytes())


async def status(port: int, headers: dict[str, str], *pieces: bytes) -> Code | None:
    """What a call ended with; none if its stream was reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    connection.send_headers(1, list({**HEADERS, **headers}.items()))
    for number, piece in enumerate(pieces, 1):
        connection.send_data(1, piece, end_stream=number == len(pieces))
    found: dict[str, str] = {}
    try:
        async with asyncio.timeout(30):
            while True:
                writer.write(connection.data_to_send())
                for event in connection.receive_data(await reader.read(65536)):
                    if isinstance(event, ResponseReceived | TrailersReceived):
                        found |= dict(event.headers)  # type: ignore[arg-type]
                    if isinstance(event, StreamEnded | StreamReset):
                        code = found.get("grpc-status")
                        return None if code is None else Code(int(code))
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("headers", "pieces", "code"),
    [
        ({}, [HELLO], Code.OK),
        ({}, [HELLO[:3], HELLO[3:7], HELLO[7:], b""], Code.OK),
        ({}, [framed(b"")], Code.OK),
        ({}, [HELLO[:-1]], Code.INTERNAL),
        ({}, [b"\0\0"], Code.INTERNAL),
        ({}, [HELLO, HELLO], Code.UNIMPLEMENTED),
        ({"grpc-encoding": "gzip"}, [framed(gzip.compress(b""), compressed=True)], Code.OK),
        ({"grpc-encoding": "gzip"}, [framed(b"x", compressed=True)], Code.INVALID_ARGUMENT),
        ({"grpc-encoding": "snappy"}, [framed(b"x", compressed=True)], Code.UNIMPLEMENTED),
        ({}, [framed(b"\xff")], Code.INVALID_ARGUMENT),
        ({}, [framed(b"x" * 101)], Code.RESOURCE_EXHAUSTED),
        ({":path": "/test.Echo/Sing"}, [HELLO], Code.UNIMPLEMENTED),
        ({":path": "/test.Echo/Wait", "grpc-timeout": "1m"}, [HELLO], Code.DEADLINE_EXCEEDED),
        ({":path": "/test.Echo/Stop"}, [HELLO], Code.CANCELLED),
        ({"content-type": "text/plain"}, [HELLO], None),
    ],
)
async def test_calls_end_with_the_code_that_says_why(
    headers: dict[str, str], pieces: list[bytes], code: Code | None
) -> None:
    async with serving({SAY: echo, WAIT: wait, STOP: stop}, limits=Limits(received=100)) as port:
        assert await status(port, headers, *pieces) is code


async def test_calls_under_way_end_with_the_server() -> None:
    begun = asyncio.Event()

    async def wait_here(asked: Said) -> Said:
        begun.set()
        return await wait(asked)

    async with serving({WAIT: wait_here}) as port:
        asked = asyncio.create_task(status(port, {":path": "/test.Echo/Wait"}, HELLO))
        await begun.wait()
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)


async def test_callers_who_come_at_once_are_all_taken() -> None:
    async with serving({SAY: echo}) as port:
        connect_at_once("127.0.0.1", port)
        assert await status(port, {}, HELLO) is Code.OK
