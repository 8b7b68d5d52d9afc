"""Answers of the model server, and how they look on the wire."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncGenerator, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import msgspec

from kubeling.serving.server.errors import ServingError

__all__ = [
    "Response",
    "StreamedResponse",
    "encoded",
    "encoded_head",
    "encoded_piece",
    "error_response",
    "json_response",
]

log = logging.getLogger(__name__)

_JSON: Final = "application/json"
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_USUAL: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_encode: Final = msgspec.json.Encoder().encode

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


class Response(msgspec.Struct, gc=False):
    """An answer."""

    body: bytes
    status: int = 200
    content_type: str = _JSON
    headers: Mapping[str, str] = _NONE


class StreamedResponse(msgspec.Struct):
    """An answer that is sent piece by piece, as they come.

    The next piece is asked for once the client has room for it; a client that goes away ends the
    generator. What it raises can only be told by a connection that ends, as the status is out.
    """

    pieces: AsyncGenerator[bytes, None]
    status: int = 200
    content_type: str = "text/event-stream; charset=utf-8"
    headers: Mapping[str, str] = _NONE


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Plain values as JSON."""
    return Response(_encode(value), status, _JSON, headers or _NONE)


def error_response(error: BaseException) -> Response:
    """What went wrong."""
    if isinstance(error, ServingError):
        return json_response(error.body, error.http_status)
    # One request's trouble is that caller's to know, and no reason to end the server.
    log.error("answering a request", exc_info=error)
    return json_response({"error": f"{type(error).__name__}: {error}"}, 500)


@functools.lru_cache(64)
def _head(status: int, content_type: str) -> bytes:
    return (
        _STATUS_LINES[status]
        + b"content-type: "
        + content_type.replace("%", "%%").encode()
        + b"\r\ncontent-length: %d\r\n"
    )


def encoded(response: Response, keep: bool, head_only: bool) -> bytes:
    """An answer as it is sent."""
    body = response.body
    if keep and not response.headers and not head_only:
        if response.status == 200 and response.content_type is _JSON:
            return _USUAL % (len(body), body)
        return b"%b\r\n%b" % (_head(response.status, response.content_type) % len(body), body)
    lines = [_head(response.status, response.content_type) % len(body), *_lines(response.headers)]
    lines.append(b"\r\n" if keep else b"connection: close\r\n\r\n")
    if not head_only:
        lines.append(body)
    return b"".join(lines)


def encoded_head(response: StreamedResponse, keep: bool, chunked: bool) -> bytes:
    """The head of an answer whose length nobody knows."""
    lines = [_STATUS_LINES[response.status]]
    lines += _lines({"content-type": response.content_type, **response.headers})
    if chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    lines.append(b"\r\n" if keep else b"connection: close\r\n\r\n")
    return b"".join(lines)


def encoded_piece(piece: bytes, chunked: bool) -> bytes:
    """A piece as it is sent; without ``chunked`` the end of the connection ends the answer."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece


def _lines(headers: Mapping[str, str]) -> list[bytes]:
    lines = []
    for name, value in headers.items():
        clean = f"{name}: {value}".replace("\r", " ").replace("\n", " ")
        lines.append(clean.encode("latin-1", "replace") + b"\r\n")
    return lines
