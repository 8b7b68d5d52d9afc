"""HTTPS: reads requests, hands them to the one handler, writes its answers.

Paths are routed by the handler, so aiohttp's low-level server is used without its router. A
client that goes away cancels its request.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import ClientConnectionResetError, web

from kubeling.apiserver.auth import Authenticator
from kubeling.apiserver.impersonation import impersonated
from kubeling.apiserver.listing import Change
from kubeling.apiserver.query import Query
from kubeling.apiserver.rbac import Authorizer
from kubeling.apiserver.requests import (
    Answer,
    ApiRequest,
    BytesAnswer,
    ConnectionAnswer,
    ObjectAnswer,
    StoredAnswer,
    StreamAnswer,
    WatchAnswer,
    parse_path,
)
from kubeling.apiserver.uids import new_uid
from kubeling.apiserver.user import ANONYMOUS
from kubeling.kube import yaml
from kubeling.kube.errors import ApiError, InternalError
from kubeling.kube.objects import Obj

if TYPE_CHECKING:
    from kubeling.apiserver.audit.auditor import Auditor

__all__ = ["HttpServer"]

log = logging.getLogger(__name__)

_BODY_LIMIT: Final = 3 * 1024 * 1024
_WRITE_BYTES: Final = 64 * 1024
"""How much is written at once to a watcher, who may be slow to take it."""
_GZIP_FROM: Final = 128 * 1024
_encode: Final = msgspec.json.Encoder().encode


class HttpServer:
    """The listening side of the server."""

    def __init__(
        self,
        handle: Callable[[ApiRequest], Awaitable[Answer]],
        authenticator: Authenticator,
        authorizer: Authorizer,
        auditor: Auditor | None = None,
    ) -> None:
        self._handle = handle
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._auditor = auditor
        self._runner: web.ServerRunner | None = None
        self.requests: dict[tuple[str, int], int] = {}
        """How many answers were given, by method and code."""

    async def start(self, host: str, port: int, context: ssl.SSLContext) -> int:
        """Listens; returns the port. Raises :class:`OSError` where the address is taken."""
        server = web.Server(self._respond, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, host, port, ssl_context=context, backlog=1024, reuse_address=True
        )
        await site.start()
        address: Any = self._runner.addresses[0]
        return int(address[1])

    async def stop(self) -> None:
        """Stops listening and closes what is open."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        # The client's own, where it has one, so that both can be found by it.
        audit_id = request.headers.get("Audit-ID", "")[:64] or new_uid()
        try:
            response = await self._answered(request, audit_id)
        except ApiError as error:
            response = _failure(error)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            response = _failure(InternalError("the server failed; its log says why"))
        if not response.prepared:
            response.headers["Audit-Id"] = audit_id
        key = (request.method, response.status)
        self.requests[key] = self.requests.get(key, 0) + 1
        return response

    async def _answered(self, request: web.BaseRequest, audit_id: str) -> web.StreamResponse:
        asked = ApiRequest(
            method=request.method,
            path=request.path,
            user=ANONYMOUS,
            query=Query(request.query.items()),
            content_type=request.headers.get("Content-Type", ""),
            accept=request.headers.get("Accept", ""),
            user_agent=request.headers.get("User-Agent", ""),
            headers=request.headers,
            source=request.remote or "",
            audit_id=audit_id,
        )
        await self._identify(asked, request)
        if not _passes_through(request):
            asked.text = await _body(request)
        answer = await self._handle(asked)
        match answer:
            case StoredAnswer():
                return await _json(answer.stored.encoded, 200, [], request)
            case ObjectAnswer():
                return await _object(answer, request)
            case WatchAnswer():
                return await _watch(answer, request, audit_id)
            case BytesAnswer():
                headers = {"Content-Type": answer.content_type, **answer.headers}
                return web.Response(body=answer.body, status=answer.code, headers=headers)
            case StreamAnswer():
                return await _stream(answer, request, audit_id)
            case ConnectionAnswer():
                return await answer.serve(request)

    async def _identify(self, asked: ApiRequest, request: web.BaseRequest) -> None:
        """Finds out who asks, and for whom."""
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport else None
        authorization = request.headers.get("Authorization", "")
        user = None
        try:
            user = await self._authenticator.user(certificate, authorization, asked.path)
            asked.user = impersonated(user, request.headers.items(), self._authorizer)
        except ApiError as error:
            if self._auditor is not None:
                self._auditor.refused(asked, user, error)
            raise
        if asked.user is not user:
            asked.impersonator = user


def _passes_through(request: web.BaseRequest) -> bool:
    """Whether the body is not for this server to read."""
    target = parse_path(request.path)
    proxied = target is not None and target.subresource == "proxy"
    return proxied or "upgrade" in request.headers.get("Connection", "").lower()


async def _body(request: web.BaseRequest) -> bytes:
    if not request.can_read_body:
        return b""
    content = bytearray(await request.content.readany())
    while not request.content.at_eof():
        content += await request.content.readany()
        if len(content) > _BODY_LIMIT:
            raise ApiError(
                f"the body is larger than the limit of {_BODY_LIMIT} bytes",
                code=413,
                reason="RequestEntityTooLarge",
            )
    return bytes(content)


async def _object(answer: ObjectAnswer, request: web.BaseRequest) -> web.Response:
    headers: list[tuple[str, str]] = [
        ("Warning", f'299 - "{warning}"') for warning in map(_quotable, answer.warnings)
    ]
    if answer.yaml:
        headers.append(("Content-Type", "application/yaml"))
        return web.Response(
            body=yaml.dump(answer.obj).encode(), status=answer.code, headers=headers
        )
    return await _json(_encode(answer.obj), answer.code, headers, request)


async def _json(
    body: bytes, code: int, headers: list[tuple[str, str]], request: web.BaseRequest
) -> web.Response:
    headers.append(("Content-Type", "application/json"))
    if len(body) > _GZIP_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
        body = await asyncio.to_thread(gzip.compress, body, 1)
        headers.append(("Content-Encoding", "gzip"))
    return web.Response(body=body, status=code, headers=headers)


async def _watch(
    answer: WatchAnswer, request: web.BaseRequest, audit_id: str
) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "application/json", "Audit-Id": audit_id}
    )
    response.enable_chunked_encoding()
    async with contextlib.aclosing(answer.changes) as changes:
        # A client that left while it was written to is not told how the stream ends.
        with contextlib.suppress(ClientConnectionResetError):
            await response.prepare(request)
            try:
                async for together in changes:
                    for lines in _gathered(_line(change, answer.form) for change in together):
                        await response.write(lines)
            except ApiError as error:
                await response.write(_encode({"type": "ERROR", "object": error.status}) + b"\n")
            await response.write_eof()
    return response


def _gathered(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines put together into writes that are few, and not larger than they need be."""
    waiting: list[bytes] = []
    size = 0
    for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= _WRITE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _line(change: Change, form: str) -> bytes:
    """One event as written; kept with the event for the next watcher of the same form."""
    event = change.event
    if event is None or not form:
        return _encoded(change)
    key = f"{change.type} {form}"
    line = event.encoded.get(key)
    if line is None:
        line = event.encoded[key] = _encoded(change)
    return line


def _encoded(change: Change) -> bytes:
    record = change.record
    shown = change.object if record is None else msgspec.Raw(record.encoded)
    return _encode({"type": change.type, "object": shown}) + b"\n"


async def _stream(
    answer: StreamAnswer, request: web.BaseRequest, audit_id: str
) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": answer.content_type, "Audit-Id": audit_id}
    )
    response.enable_chunked_encoding()
    chunks = answer.chunks
    try:
        await response.prepare(request)
        async for chunk in chunks:
            await response.write(chunk)
    finally:
        await chunks.aclose()
    await response.write_eof()
    return response


def _failure(error: ApiError) -> web.Response:
    headers = {"Content-Type": "application/json"}
    if seconds := error.details.get("retryAfterSeconds"):
        headers["Retry-After"] = str(seconds)
    status: Obj = error.status
    return web.Response(body=_encode(status) + b"\n", status=error.status_code, headers=headers)


def _quotable(text: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable.replace("\\", "\\\\").replace('"', '\\"')
