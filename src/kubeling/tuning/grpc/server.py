"""Answering gRPC calls, and ``grpc.health.v1`` with them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

from kubeling.tuning.grpc.http2 import (
    CONTENT_TYPE,
    ConnectionBroken,
    Exchange,
    Headers,
    Http2,
    framed,
    quoted,
    unframed,
)
from kubeling.tuning.grpc.services import Code, Method, RpcError
from kubeling.tuning.grpc.wire import Message, MessageError, integer, text

__all__ = ["Handler", "serving"]

log = logging.getLogger(__name__)

Handler = Callable[[Any], Awaitable[Message]]
"""Answers a request; raises :class:`RpcError` to refuse it."""

_SERVING: Final = 1
_HEALTH: Final = "/grpc.health.v1.Health/Check"


class _HealthRequest(Message):
    service: str = text(1)


class _HealthReply(Message):
    status: int = integer(1)


@contextlib.asynccontextmanager
async def serving(
    handlers: Mapping[Method[Any, Any], Handler], host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[int]:
    """Serves until the block is left; gives the port. Calls under way end with it."""
    methods = {method.path: (method.request, handler) for method, handler in handlers.items()}
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await _Connection(methods, reader, writer).run()
        except asyncio.CancelledError:
            # The server is closing: to asyncio.start_server a cancelled task is an error to print.
            return
        finally:
            connections.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, host, port)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


class _Connection:
    """One caller's connection, on which calls may overlap."""

    def __init__(
        self,
        methods: Mapping[str, tuple[type[Message], Handler]],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._methods = methods
        self._http = Http2(reader, writer, self._asked, client=False)
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        with contextlib.suppress(*ConnectionBroken):
            async with self._group:
                await self._http.run()

    def _asked(self, exchange: Exchange) -> None:
        if not exchange.reset:
            self._group.create_task(self._answer(exchange))

    async def _answer(self, exchange: Exchange) -> None:
        reply, trailers = b"", [("grpc-status", str(int(Code.OK)))]
        try:
            reply = framed((await self._reply(exchange)).to_bytes())
        except RpcError as error:
            trailers = _refusal(error.code, str(error))
        except MessageError as error:
            trailers = _refusal(Code.INVALID_ARGUMENT, str(error))
        except Exception as error:
            # One call's trouble is that caller's to know, and no reason to end the server.
            log.exception("%s", exchange.headers.get(":path"))
            trailers = _refusal(Code.INTERNAL, f"{type(error).__name__}: {error}")
        with contextlib.suppress(*ConnectionBroken):
            self._http.answer(exchange.stream, [(":status", "200"), ("content-type", CONTENT_TYPE)])
            await self._http.send(exchange.stream, reply)
            self._http.answer(exchange.stream, trailers, end=True)
            await self._http.flush()

    async def _reply(self, exchange: Exchange) -> Message:
        path = exchange.headers.get(":path", "")
        if path == _HEALTH:
            _HealthRequest.from_bytes(unframed(exchange.data))
            return _HealthReply(_SERVING)
        if path not in self._methods:
            raise RpcError(Code.UNIMPLEMENTED, f"unknown method {path}")
        request, handler = self._methods[path]
        return await handler(request.from_bytes(unframed(exchange.data)))


def _refusal(code: Code, message: str) -> Headers:
    return [("grpc-status", str(int(code))), ("grpc-message", quoted(message))]
