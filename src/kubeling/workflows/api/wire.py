"""Requests and answers: JSON bodies, query options, and streams.

A stream is what the gateway makes of one of gRPC: lines of ``{"result": …}``, or the same as
server-sent events where the client asks for those (Argo's command line and UI do).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import wraps
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj
from kubeling.workflows.api.errors import ApiFailure, InvalidArgument, failure_of
from kubeling.workflows.operations.errors import OperationRefused

__all__ = [
    "Endpoint",
    "answer",
    "body_of",
    "handler",
    "options_of",
    "part_of",
    "query_of",
    "stream",
]

T = TypeVar("T")
Endpoint = Callable[[web.Request], Awaitable[Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ENCODER: Final = msgspec.json.Encoder()
_REFUSALS: Final = (ApiError, ApiFailure, OperationRefused)
_EVENTS: Final = "text/event-stream"
_FIRST: Final = 0.1
"""Seconds after which a client gets to know that its stream has begun, though nothing came."""
_QUIET: Final = 5.0
"""Seconds after which it is looked whether anybody still reads."""
_END: Final = object()


def answer(value: Any, status: int = 200) -> web.Response:
    """A JSON response."""
    return web.Response(body=_ENCODER.encode(value), status=status, content_type="application/json")


def handler(endpoint: Endpoint) -> Handler:
    """Turns what an endpoint returns, or why it refuses, into a response."""

    @wraps(endpoint)
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            result = await endpoint(request)
        except _REFUSALS as error:
            status, body = failure_of(error)
            return answer(body, status)
        return result if isinstance(result, web.StreamResponse) else answer(result)

    return handle


def query_of(request: web.Request, name: str) -> str:
    """A query value; an empty one is as good as none, as clients send them."""
    return request.query.get(name, "").strip()


def options_of(request: web.Request, prefix: str, type: type[T]) -> T:
    """The query values ``PREFIX.NAME`` as a struct."""
    start = f"{prefix}."
    given = {
        key.removeprefix(start): value
        for key, value in request.query.items()
        if key.startswith(start) and value
    }
    return _converted(given, type, prefix, strict=False)


async def body_of(request: web.Request, type: type[T]) -> T:
    """The request's body as a struct; what that does not know is ignored, as upstream does."""
    data = await request.read()
    try:
        body = msgspec.json.decode(data or b"{}")
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"the body is not valid JSON: {error}") from None
    return _converted(body or {}, type, "body")


def part_of(body: Obj | None, what: str) -> Obj:
    """An object that a request has to bring along."""
    if not isinstance(body, dict):
        raise InvalidArgument(f"{what} was not found in the request body")
    body.setdefault("metadata", {})
    return body


def _converted(value: Any, type: type[T], where: str, *, strict: bool = True) -> T:
    try:
        return msgspec.convert(value, type, strict=strict)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"{where}: {error}") from None


async def stream(request: web.Request, results: AsyncGenerator[Any, None]) -> web.StreamResponse:
    """Sends results as they come; a refusal before the first is an ordinary one."""
    as_events = _EVENTS in request.headers.get("Accept", "")
    response = web.StreamResponse()
    response.content_type = _EVENTS if as_events else "application/json"
    response.headers["Cache-Control"] = "no-cache"
    begin, end = (b"data: ", b"\n\n") if as_events else (b"", b"\n")

    async def send(message: Obj) -> None:
        if not response.prepared:
            await response.prepare(request)
        await response.write(begin + _ENCODER.encode(message) + end)

    try:
        async with contextlib.aclosing(_while_read(request, results)) as source:
            async for result in source:
                if result is not None:
                    await send({"result": result})
                elif not response.prepared:
                    await response.prepare(request)
    except _REFUSALS as error:
        if not response.prepared:
            raise
        await send({"error": failure_of(error)[1]})
    except ConnectionResetError:
        return response
    if not response.prepared:
        await response.prepare(request)
    await response.write_eof()
    return response


async def _while_read(
    request: web.Request, results: AsyncGenerator[Any, None]
) -> AsyncGenerator[Any, None]:
    """The results as long as somebody reads them; ``None`` when there are none for a while."""
    patience = _FIRST
    async with contextlib.aclosing(results):
        while request.transport is not None and not request.transport.is_closing():
            following = asyncio.ensure_future(anext(results, _END))
            try:
                while not (await asyncio.wait([following], timeout=patience))[0]:
                    yield None
                    patience = _QUIET
                    if request.transport is None or request.transport.is_closing():
                        return
                result = await following
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            if result is _END:
                return
            yield result
