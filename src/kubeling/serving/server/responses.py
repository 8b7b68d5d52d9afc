"""Answers of the model server, and how they look on the wire."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import msgspec

from kubeling.serving.server.errors import ServingError

__all__ = ["Response", "encoded", "error_response", "json_response"]

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
    lines = [head]
    for name, value in response.headers.items():
        clean = f"{name}: {value}".replace("\r", " ").replace("\n", " ")
        lines.append(clean.encode("latin-1", "replace") + b"\r\n")
    lines.append(b"\r\n" if keep else b"connection: close\r\n\r\n")
    if not head_only:
        lines.append(response.body)
    return b"".join(lines)
