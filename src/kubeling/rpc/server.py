"""Answering gRPC calls, and ``grpc.health.v1`` with them.

On the HTTP/2 that calls are passed on with, which hands over what came by plain calls and sends
what one turn of the event loop brought in one write; a library for gRPC adds to that a task that
reads, queues between tasks and events, and a system call for each part of an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from h2.errors import ErrorCodes

from kubeling.proxying.http2.connection import Connection
from kubeling.proxying.http2.stream import Headers, Receiver, Stream
from kubeling.rpc.accepting import accepting
from kubeling.rpc.calls import Code, Limits, Method
from kubeling.rpc.headers import CONTENT_TYPE
from kubeling.rpc.unary import Handler, Route, UnaryCall, metadata, refuse
from kubeling.rpc.wire import Message, integer, text

__all__ = ["Handler", "metadata", "serving"]

_SERVING: Final = 1
_HEALTH: Final = "/grpc.health.v1.Health/Check"


class _HealthRequest(Message):
    service: str = text(1)


class _HealthReply(Message):
    status: int = integer(1)


@contextlib.asynccontextmanager
async def serving(
    handlers: Mapping[Method[Any, Any], Handler],
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    listening: socket.socket | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[int]:
    """Serves until the block is left; gives the port. Calls under way end with it.

    ``listening`` is a socket that listens already.
    """
    calls = _Calls(handlers, limits or Limits())
    listening = listening or socket.create_server((host, port))
    try:
        with accepting(listening, calls.connection):
            yield int(listening.getsockname()[1])
    finally:
        await calls.close()


class _Calls:
    """The connections of callers, and the calls under way."""

    def __init__(self, handlers: Mapping[Method[Any, Any], Handler], limits: Limits) -> None:
        self._routes = {
            method.path: Route(handler, method.request) for method, handler in handlers.items()
        }
        self._routes[_HEALTH] = Route(_healthy, _HealthRequest)
        self._limits = limits
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def connection(self) -> Connection:
        """What speaks with a new caller."""
        made = Connection(self._opened, self._connections.discard)
        self._connections.add(made)
        return made

    async def close(self) -> None:
        """Ends all."""
        for connection in list(self._connections):
            connection.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _opened(self, stream: Stream, headers: Headers, ended: bool) -> Receiver | None:
        found = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        if not found.get("content-type", "").encode("latin-1").startswith(CONTENT_TYPE):
            stream.reset(ErrorCodes.HTTP_1_1_REQUIRED)
            return None
        path = found.get(":path", "")
        if (route := self._routes.get(path)) is None:
            refuse(stream, Code.UNIMPLEMENTED, f"there is no method {path}")
            return None
        call = UnaryCall(stream, route, found, self._limits, self._tasks)
        if ended:
            call.received_data(b"", ended=True)
        return call


async def _healthy(_: _HealthRequest) -> _HealthReply:
    return _HealthReply(_SERVING)
