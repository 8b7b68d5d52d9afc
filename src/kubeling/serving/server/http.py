"""HTTP/1.1 for the model server: httptools parses, and nothing lies between it and the handlers.

A web framework costs several times what predicting a row of a small model does (measured in
docs/decisions/0049-below-the-framework.md). What a model server needs of HTTP is little: whole
bodies in, whole bodies out or pieces of text as they are made, connections that are kept, pipelined
requests answered in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final, cast
from urllib.parse import unquote

import httptools
import msgspec

from kubeling.serving.server.errors import InvalidInput, ServingError, TooLarge
from kubeling.serving.server.heads import Heads
from kubeling.serving.server.responses import (
    Response,
    StreamedResponse,
    encoded,
    encoded_head,
    encoded_piece,
    error_response,
    json_response,
)
from kubeling.serving.server.unpacking import unpacked

__all__ = [
    "Handler",
    "Immediately",
    "Request",
    "Response",
    "StreamedResponse",
    "error_response",
    "json_response",
    "listening",
]

log = logging.getLogger(__name__)

_MAX_BODY: Final = 256 * 1024 * 1024
_MAX_HEAD: Final = 64 * 1024
_WAITING: Final = 32
_GRACE: Final = 30.0
_LINGER: Final = 2.0
_PATIENCE: Final = 300.0
_ENDS: Final = (asyncio.CancelledError, KeyboardInterrupt, SystemExit)
"""What ends a task. All else is answered: a panic of Rust, too, which is no ``Exception``."""
_USUAL: Final = (
    *("Host", "Accept", "Accept-Encoding", "User-Agent", "Connection"),
    *("Content-Type", "Content-Length", "Content-Encoding", "Authorization", "X-Request-Id"),
    "Inference-Header-Content-Length",
)
_NAMES: Final = {form.encode(): name.lower() for name in _USUAL for form in (name, name.lower())}


class Request(msgspec.Struct, gc=False):
    """A request with its whole body; header names are in lower case.

    Requests with equal heads share their headers.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    chunked: bool = True
    """Whether its client knows answers in chunks (HTTP/1.1)."""


Handler = Callable[[Request], Awaitable[Response | StreamedResponse]]
"""Answers a request. What it raises is answered with its ``http_status``, or 500."""


Immediately = Callable[[Request, Callable[[Response], None]], bool]
"""Takes a request that needs no task: calls what it is given with the answer, now or later, on the
event loop, and says true. The others are the handler's."""


@contextlib.asynccontextmanager
async def listening(
    handler: Handler,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    keep_alive: float = 65.0,
    reuse_port: bool = False,
    path: Path | None = None,
    immediately: Immediately | None = None,
) -> AsyncIterator[int]:
    """Answers until the block is left, then finishes what was asked; gives the port.

    With ``path`` it is at a socket of that name, and the port is 0.
    """
    connections: set[_Connection] = set()
    heads = Heads()
    loop = asyncio.get_running_loop()

    def connected() -> _Connection:
        return _Connection(handler, immediately, connections, keep_alive, heads)

    if path is not None:
        server = await loop.create_unix_server(connected, str(path), backlog=1024)
    else:
        shared = reuse_port or None
        server = await loop.create_server(connected, host, port, backlog=1024, reuse_port=shared)
    try:
        yield 0 if path is not None else int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for connection in list(connections):
            connection.finish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await asyncio.gather(*(connection.closed.wait() for connection in connections))
        for connection in list(connections):
            connection.abort()


class _Connection(asyncio.Protocol):
    """One connection. Requests that arrive while one is answered wait, and reading with them."""

    def __init__(
        self,
        handler: Handler,
        immediately: Immediately | None,
        connections: set[_Connection],
        keep_alive: float,
        heads: Heads,
    ) -> None:
        self._handler = handler
        self._immediately = immediately
        self._promised: bool | None = None
        self._connections = connections
        self._keep_alive = keep_alive
        self._heads = heads
        self._between = True
        self._alone: bytes | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[Request | ServingError, bool, bool]] = deque()
        self._answering: asyncio.Task[None] | None = None
        self._ending = False
        self._refused = False
        self._idle: asyncio.TimerHandle | None = None
        self._heard = False
        self._writable = asyncio.Event()
        self._writable.set()
        self.closed = asyncio.Event()
        self._clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.add(self)
        self._rest()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self.closed.set()
        self._writable.set()
        self._transport = None
        if self._idle is not None:
            self._idle.cancel()
        if self._answering is not None:
            self._answering.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._heard = True
        if self._between and not self._waiting:
            known = self._heads.find(data)
            if known is not None:
                head, body = known
                self._take(Request(head.method, head.path, head.headers, body), keep=True)
                return
            self._alone = data
        in_head = self._in_head
        try:
            self._parser.feed_data(data)
            if in_head and self._in_head:
                # The parser shows a header only once it has all of it.
                self._count_head(len(data))
        except httptools.HttpParserUpgrade:
            self._refuse(InvalidInput("this server speaks HTTP/1.1 only"))
        except _Refused as refused:
            self._refuse(refused.error)
        except httptools.HttpParserError as error:
            cause = error.__context__
            found = cause.error if isinstance(cause, _Refused) else None
            self._refuse(found or InvalidInput(f"not an HTTP request: {error}"))

    # What httptools calls, in this order.

    def on_message_begin(self) -> None:
        self._between = False
        self._clear()
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value)
        key, text = _NAMES.get(name) or name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._count_head(0)
        if int(self._headers.get("content-length", 0)) > _MAX_BODY:
            raise _Refused(TooLarge(f"the body is larger than {_MAX_BODY} bytes"))
        if self._headers.get("expect", "").lower() == "100-continue" and self._transport:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > _MAX_BODY:
            raise _Refused(TooLarge(f"the body is larger than {_MAX_BODY} bytes"))
        self._body.append(body)

    def on_message_complete(self) -> None:
        keep = self._parser.should_keep_alive()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        encoding = self._headers.get("content-encoding")
        method = self._parser.get_method().decode()
        found: Request | ServingError
        try:
            found = Request(
                method,
                _path_of(self._url),
                self._headers,
                unpacked(body, encoding, _MAX_BODY) if encoding else body,
                self._parser.get_http_version() != "1.0",
            )
        except ServingError as error:
            found = error
        self._between = True
        self._take(found, keep, head_only=method == "HEAD")
        self._alone = None

    def finish(self) -> None:
        """Closes once what was asked is answered."""
        self._ending = True
        if not self._busy and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()

    def _clear(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._head = 0
        self._in_head = False

    def _count_head(self, size: int) -> None:
        self._head += size
        if self._head > _MAX_HEAD:
            raise _Refused(TooLarge(f"the headers are larger than {_MAX_HEAD} bytes"))

    def _refuse(self, error: ServingError) -> None:
        """Answers what cannot be read, after what came before it; what follows is passed over."""
        self._refused = True
        self._take(error, keep=False)

    def _take(self, found: Request | ServingError, keep: bool, *, head_only: bool = False) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        busy = self._promised is not None or self._answering is not None
        if not busy and self._immediately is not None and isinstance(found, Request):
            self._promised = keep
            if self._immediately(found, self._answered):
                if self._alone is not None and keep:
                    self._heads.learn(self._alone, found.method, found.path, found.headers)
                return
            self._promised = None
        self._waiting.append((found, keep, head_only))
        if not self._busy:
            self._start_answering()
        elif len(self._waiting) == _WAITING:
            transport.pause_reading()

    @property
    def _busy(self) -> bool:
        return self._answering is not None or self._promised is not None

    def _start_answering(self) -> None:
        self._answering = asyncio.get_running_loop().create_task(self._answer())

    def _answered(self, response: Response) -> None:
        """Takes the answer of a request that had no task; what came after it may need one."""
        keep, self._promised = bool(self._promised) and not self._ending, None
        if self._transport is None:
            return
        self._transport.write(encoded(response, keep, head_only=False))
        if not keep:
            self._close()
        elif self._waiting or not self._writable.is_set():
            self._start_answering()

    async def _answer(self) -> None:
        keep = True
        await self._until_writable()
        while self._waiting and keep:
            found, keep, head_only = self._waiting.popleft()
            keep = keep and not self._ending
            response = await self._response(found)
            if self._transport is None:
                return
            if isinstance(response, StreamedResponse):
                chunked = isinstance(found, Request) and found.chunked
                keep = await self._stream(response, keep and chunked, chunked)
                continue
            self._transport.write(encoded(response, keep, head_only))
            await self._until_writable()
        self._answering = None
        if self._transport is None:
            return
        if keep and not self._ending:
            self._transport.resume_reading()
        else:
            self._close()

    async def _stream(self, response: StreamedResponse, keep: bool, chunked: bool) -> bool:
        """Sends an answer in pieces, as fast as the client takes them; says whether to go on."""
        async with contextlib.aclosing(response.pieces) as pieces:
            self._write(encoded_head(response, keep, chunked))
            try:
                async for piece in pieces:
                    if piece:
                        self._write(encoded_piece(piece, chunked))
                    await self._until_writable()
            except _ENDS:
                raise
            except BaseException:
                log.exception("an answer broke off")
                self.abort()
                return False
        if chunked:
            self._write(b"0\r\n\r\n")
        return keep

    async def _until_writable(self) -> None:
        """Waits for a client that is slow to read; one that does not read is let go."""
        if not self._writable.is_set():
            patience = asyncio.get_running_loop().call_later(_PATIENCE, self.abort)
            try:
                await self._writable.wait()
            finally:
                patience.cancel()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _close(self) -> None:
        """Closes; a client that is still sending is heard out, or it would not see the answer."""
        assert self._transport is not None
        if self._refused and self._transport.can_write_eof():
            self._transport.write_eof()
            asyncio.get_running_loop().call_later(_LINGER, self.abort)
        else:
            self._transport.close()

    async def _response(self, found: Request | ServingError) -> Response | StreamedResponse:
        if isinstance(found, ServingError):
            return error_response(found)
        try:
            return await self._handler(found)
        except _ENDS:
            raise
        except BaseException as error:
            return error_response(error)

    def _rest(self) -> None:
        """Closes a connection on which nothing came for a while; a timer a request costs more."""
        if self._heard or self._busy or self._idle is None:
            self._heard = False
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self._keep_alive, self._rest)
        else:
            self.finish()


class _Refused(Exception):
    """Ends parsing."""

    def __init__(self, error: ServingError) -> None:
        super().__init__(str(error))
        self.error = error


@functools.lru_cache(256)
def _path_of(url: bytes) -> str:
    try:
        path = httptools.parse_url(url).path or b"/"
    except httptools.HttpParserInvalidURLError:
        raise InvalidInput("the address cannot be read") from None
    text = path.decode("latin-1")
    return unquote(text) if "%" in text else text
