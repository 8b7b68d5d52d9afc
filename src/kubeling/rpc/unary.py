"""A call that is answered: one message comes, one goes, and a status ends it."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from h2.errors import ErrorCodes

from kubeling.proxying.http2.stream import Headers, Stream
from kubeling.rpc.calls import Code, Limits, RpcError
from kubeling.rpc.headers import CONTENT_TYPE, metadata_of, timeout_of, trailers
from kubeling.rpc.packing import unpacked
from kubeling.rpc.wire import Message, MessageError

__all__ = ["Handler", "Route", "UnaryCall", "metadata", "refuse"]

log = logging.getLogger(__name__)

Handler = Callable[[Any], Awaitable[Message | bytes]]
"""Answers a request, a long answer as bytes; raises :class:`RpcError` to refuse it."""

_metadata: ContextVar[Mapping[str, str]] = ContextVar("metadata")
_PREFIX: Final = struct.Struct(">?I")
_HEAD: Final = [(b":status", b"200"), (b"content-type", CONTENT_TYPE)]
_DONE: Final = [(b"grpc-status", b"0")]


def metadata() -> Mapping[str, str]:
    """The text that came with the call being answered, by name in lower case."""
    return _metadata.get({})


def refuse(stream: Stream, code: Code, message: str) -> None:
    """Answers with a status alone; a caller that is still sending need not go on."""
    stream.send_headers([*_HEAD, *trailers(code, message)], ended=True)
    if not stream.heard:
        stream.reset(ErrorCodes.NO_ERROR)


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a method."""

    handler: Handler
    request: type[Message]


class UnaryCall:
    """Receives a request, and answers it in a task of its own."""

    def __init__(
        self,
        stream: Stream,
        route: Route,
        headers: Mapping[str, str],
        limits: Limits,
        tasks: set[asyncio.Task[None]],
    ) -> None:
        self._stream = stream
        self._route = route
        self._headers = headers
        self._limits = limits
        self._tasks = tasks
        self._came = bytearray()
        self._task: asyncio.Task[None] | None = None
        timeout = timeout_of(headers.get("grpc-timeout", ""))
        self._deadline = (
            None
            if timeout is None
            else asyncio.get_running_loop().call_later(timeout, self._fail, *_LATE)
        )

    # As a receiver

    def received_headers(self, headers: Headers, ended: bool) -> None:
        """Trailers of a request: gRPC has none, so they only end it."""
        self.received_data(b"", ended)

    def received_data(self, data: bytes, ended: bool) -> None:
        self._came += data
        self._stream.consumed(len(data))
        size = _PREFIX.unpack_from(self._came)[1] if len(self._came) >= _PREFIX.size else 0
        most = self._limits.received
        if most is not None and size > most:
            self._fail(Code.RESOURCE_EXHAUSTED, _too_large("Received", size, most))
        elif len(self._came) > _PREFIX.size + size:
            self._fail(Code.UNIMPLEMENTED, "the method takes one message")
        elif ended:
            self._start()

    def broke(self, code: int, untouched: bool) -> None:
        self._end()
        if self._task is not None:
            self._task.cancel()

    # On its way

    def _start(self) -> None:
        if len(self._came) < _PREFIX.size or len(self._came) < _PREFIX.size + self._size:
            self._fail(Code.INTERNAL, "the call ended within its message")
            return
        self._task = asyncio.get_running_loop().create_task(self._answer())
        self._tasks.add(self._task)
        self._task.add_done_callback(self._tasks.discard)

    @property
    def _size(self) -> int:
        """Of the message, as it says itself."""
        return int(_PREFIX.unpack_from(self._came)[1])

    def _message(self) -> bytes:
        data = bytes(memoryview(self._came)[_PREFIX.size :])
        if not self._came[0]:
            return data
        encoding = self._headers.get("grpc-encoding", "")
        return unpacked(data, encoding, self._limits.received)

    async def _answer(self) -> None:
        _metadata.set(metadata_of(self._headers))
        try:
            asked = self._route.request.from_bytes(self._message())
            found = await self._route.handler(asked)
            answer = found if isinstance(found, bytes) else found.to_bytes()
            most = self._limits.sent
            if most is not None and len(answer) > most:
                raise RpcError(Code.RESOURCE_EXHAUSTED, _too_large("Sent", len(answer), most))
        except MessageError as error:
            self._fail(Code.INVALID_ARGUMENT, str(error))
        except RpcError as error:
            self._fail(error.code, str(error))
        except asyncio.CancelledError:
            # If it is not the caller's doing, as of something that the handler waited for.
            self._fail(Code.CANCELLED, "the call was cancelled by the server")
            raise
        except Exception as error:
            # One call's trouble is that caller's to know, and no reason to end the server.
            log.exception("a call of %s", self._route.request.__name__)
            self._fail(Code.INTERNAL, f"{type(error).__name__}: {error}")
        else:
            self._end()
            self._stream.send_headers(_HEAD)
            self._stream.send_data(_PREFIX.pack(False, len(answer)) + answer)
            self._stream.send_headers(_DONE, ended=True)

    def _fail(self, code: Code, message: str) -> None:
        self._end()
        self._stream.receiver = None
        refuse(self._stream, code, message)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _end(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()


_LATE: Final = (Code.DEADLINE_EXCEEDED, "the caller's deadline has passed")


def _too_large(what: str, size: int, limit: int) -> str:
    """The words of grpcio."""
    return f"{what} message larger than max ({size} vs. {limit})"
