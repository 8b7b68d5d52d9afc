"""What of a request and its answer goes through the inference gateway."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from kubeling.proxying.headers import end_to_end

__all__ = ["REVISION_HEADER", "error", "error_body", "passed_on", "pod_url", "request_headers"]

REVISION_HEADER: Final = "x-kubeling-revision"
_WHOLE: Final = 1 << 20
_UNPACKED: Final = frozenset({"gzip", "deflate", "br", "zstd"})
"""Encodings of bodies that this server has undone by the time they are passed on."""


def request_headers(request: web.Request) -> CIMultiDict[str]:
    """The headers that a pod is to see."""
    headers = end_to_end(request.headers)
    if headers.get("Content-Encoding", "").lower() in _UNPACKED:
        headers.popall("Content-Encoding")
        headers.popall("Content-Length", None)
    headers.setdefault("X-Forwarded-Host", request.host)
    headers.setdefault("X-Forwarded-Proto", request.scheme)
    if request.remote:
        before = [value for value in headers.popall("X-Forwarded-For", []) if value]
        headers["X-Forwarded-For"] = ", ".join([*before, request.remote])
    return headers


def pod_url(address: str, target: str) -> URL:
    """Where a pod is asked: its path is what the client wrote, be it quoted as it may."""
    return URL.build(scheme="http", authority=address, path=target, encoded=True)


async def passed_on(
    request: web.Request,
    answer: aiohttp.ClientResponse,
    revision: str,
    cut_short: Callable[[int, str, str], object] = lambda *_: None,
) -> web.StreamResponse:
    """The pod's answer: whole if it is small, else as it comes.

    If the client gets a part of it only, that is told: its status, why, and the revision.
    """
    headers = _answer_headers(answer.headers, revision)
    length = answer.content_length
    if request.method == "HEAD" and length is not None:
        headers["Content-Length"] = str(length)
        return web.Response(status=answer.status, headers=headers)
    if length is not None and length <= _WHOLE:
        return web.Response(body=await answer.read(), status=answer.status, headers=headers)
    response = web.StreamResponse(status=answer.status, headers=headers)
    try:
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    except (aiohttp.ClientError, TimeoutError) as error:
        # Its beginning is out: only a connection that ends says that the rest is missing. And a
        # client that left looks, to who writes, like a pod that broke off.
        if request.transport is not None:
            request.transport.abort()
            cut_short(answer.status, str(error) or "it was not whole in time", revision)
    return response


def _answer_headers(found: Mapping[str, str], revision: str) -> CIMultiDict[str]:
    headers = end_to_end(found, "content-length")
    headers[REVISION_HEADER] = revision
    return headers


def error_body(message: str) -> bytes:
    """The body of an answer of the gateway itself."""
    return json.dumps({"error": message}).encode()


def error(status: int, message: str, revision: str = "") -> web.Response:
    """An answer of the gateway itself."""
    headers = {REVISION_HEADER: revision} if revision else {}
    if status == 503:
        headers["Retry-After"] = "1"
    body = error_body(message)
    return web.Response(
        body=body, status=status, headers=headers, content_type="application/json", charset="utf-8"
    )
