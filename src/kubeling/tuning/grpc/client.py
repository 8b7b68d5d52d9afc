"""Calling a service of Katib's: one connection for one call, which are few and far between."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.parse
from typing import Final, TypeVar

from kubeling.tuning.grpc.http2 import CONTENT_TYPE, Exchange, Http2, framed, unframed
from kubeling.tuning.grpc.services import Code, Method, RpcError
from kubeling.tuning.grpc.wire import Message, MessageError

__all__ = ["DEADLINE", "call"]

DEADLINE: Final = 60.0
"""Seconds upstream gives a suggestion service."""

_DEFAULT_PORT: Final = 6789
_OK: Final = "200"

Asked = TypeVar("Asked", bound=Message)
Answered = TypeVar("Answered", bound=Message)


async def call(
    address: str, method: Method[Asked, Answered], request: Asked, deadline: float = DEADLINE
) -> Answered:
    """Calls ``host:port``; raises :class:`RpcError`."""
    url = urllib.parse.urlsplit(address if "//" in address else f"//{address}")
    host, port = url.hostname or "", url.port or _DEFAULT_PORT
    try:
        async with asyncio.timeout(deadline):
            reader, writer = await asyncio.open_connection(host, port)
            with contextlib.closing(writer):
                exchange = await _exchange(reader, writer, method, request, f"{host}:{port}")
    except TimeoutError:
        text = f"{method.service} at {address} did not answer within {deadline:g} s"
        raise RpcError(Code.DEADLINE_EXCEEDED, text) from None
    except OSError as error:
        text = f"{method.service} at {address} cannot be reached: {error}"
        raise RpcError(Code.UNAVAILABLE, text) from error
    return _answer(exchange, method, address)


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: Method[Asked, Answered],
    request: Asked,
    authority: str,
) -> Exchange:
    answered: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()

    def ended(exchange: Exchange) -> None:
        if not answered.done():
            answered.set_result(exchange)

    connection = Http2(reader, writer, ended, client=True)

    def closed(_: asyncio.Task[None]) -> None:
        if not answered.done():
            answered.set_exception(ConnectionResetError("the connection was closed"))

    reading = asyncio.create_task(connection.run())
    reading.add_done_callback(closed)
    try:
        stream = connection.open(
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", method.path),
                (":authority", authority),
                ("content-type", CONTENT_TYPE),
                ("te", "trailers"),
            ]
        )
        await connection.send(stream, framed(request.to_bytes()), end=True)
        return await answered
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def _answer(exchange: Exchange, method: Method[Asked, Answered], address: str) -> Answered:
    headers = exchange.headers
    where = f"{method.service} at {address}"
    if exchange.reset:
        raise RpcError(Code.UNAVAILABLE, f"{where} broke off the call")
    if headers.get(":status") != _OK or "grpc-status" not in headers:
        text = f"{where} does not speak gRPC (HTTP status {headers.get(':status')})"
        raise RpcError(Code.UNAVAILABLE, text)
    status = headers["grpc-status"]
    if status != "0":
        known = {code.value for code in Code}
        code = Code(int(status)) if status.isdigit() and int(status) in known else Code.UNKNOWN
        raise RpcError(code, urllib.parse.unquote(headers.get("grpc-message", "")) or code.name)
    try:
        return method.reply.from_bytes(unframed(exchange.data))
    except MessageError as error:
        raise RpcError(Code.INTERNAL, f"{where} answered with something else: {error}") from error
