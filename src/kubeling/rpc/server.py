"""Answering gRPC calls, and ``grpc.health.v1`` with them."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

from grpclib.const import Cardinality, Status
from grpclib.const import Handler as Route
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream

from kubeling.rpc.calls import Method, RpcError
from kubeling.rpc.codec import Codec, Limits
from kubeling.rpc.wire import Message, MessageError, integer, text
from kubeling.rpc.writing import GatheringProtocol

__all__ = ["Handler", "metadata", "serving"]

log = logging.getLogger(__name__)

Handler = Callable[[Any], Awaitable[Message | bytes]]
"""Answers a request, a long answer as bytes; raises :class:`RpcError` to refuse it."""

_metadata: ContextVar[Mapping[str, str]] = ContextVar("metadata")

_SERVING: Final = 1
_HEALTH: Final = "/grpc.health.v1.Health/Check"


class _HealthRequest(Message):
    service: str = text(1)


class _HealthReply(Message):
    status: int = integer(1)


def metadata() -> Mapping[str, str]:
    """The text that came with the call being answered, by name in lower case."""
    return _metadata.get({})


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
    server = _Server([_Routes(handlers)], codec=Codec(limits))
    listening = listening or socket.create_server((host, port))
    await server.start(sock=listening)
    try:
        yield int(listening.getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()


class _Server(Server):
    def _protocol_factory(self) -> H2Protocol:
        made = super()._protocol_factory()
        return GatheringProtocol(made.handler, made.config, made.h2_config)


class _Routes:
    """What grpclib asks for: a handler for each path."""

    def __init__(self, handlers: Mapping[Method[Any, Any], Handler]) -> None:
        self._routes = {
            method.path: _route(handler, method.request, method.reply)
            for method, handler in handlers.items()
        }
        self._routes[_HEALTH] = _route(_healthy, _HealthRequest, _HealthReply)

    def __mapping__(self) -> Mapping[str, Route]:
        return self._routes


async def _healthy(_: _HealthRequest) -> _HealthReply:
    return _HealthReply(_SERVING)


def _route(handler: Handler, request: type[Message], reply: type[Message]) -> Route:
    async def answer(stream: Stream[Message, Message | bytes]) -> None:
        try:
            asked = await stream.recv_message()
            assert asked is not None
            given = (stream.metadata or {}).items()
            _metadata.set({name: value for name, value in given if isinstance(value, str)})
            await stream.send_message(await handler(asked))
        except MessageError as error:
            raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error
        except RpcError as error:
            raise GRPCError(Status(error.code), str(error)) from error
        except Exception as error:
            # One call's trouble is that caller's to know, and no reason to end the server.
            log.exception("a call of %s", request.__name__)
            raise GRPCError(Status.INTERNAL, f"{type(error).__name__}: {error}") from error

    return Route(answer, Cardinality.UNARY_UNARY, request, reply)
