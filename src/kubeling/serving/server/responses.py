"""Answers of the model server, and how they look on the wire."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
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

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


@dataclass(slots=True)
class Response:
    """An answer."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class StreamedResponse:
    """An answer that is sent piece by piece, as they come.

    The next piece is asked for once the client has room for it; a client that goes away ends the
    generator. What it raises can only be told by a connection that ends, as the status is out.
    """

    pieces: AsyncGenerator[bytes, None]
    status: int = 200
    content_type: str = "text/event-stream; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Plain values as JSON."""
    return Response(msgspec.json.encode(value), status, headers=headers or {})


def error_response(error: BaseException) -> Response:
    """What went wrong."""
    if isinstance(error, ServingError):
        return json_response({"error": str(error)}, error.http_status)
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
    head = _head(response.status, response.content_type) % len(response.body)
    if keep and not response.headers and not head_only:
        return b"%b\r\n%b" % (head, response.body)
    lines = [head, *_lines(response.headers)]
    lines.append(b"\r\n" if keep else b"connection: close\r\n\r\n")
    if not head_only:
        lines.append(response.body)
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
