"""What a call ends with: gRPC's codes, and what they are to those who count in HTTP's."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from kubeling.proxying.http2.stream import Headers

__all__ = ["Code", "code_of", "name_of", "of_http", "of_reset", "to_http"]


class Code(IntEnum):
    """The codes that a gateway needs to know."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    DEADLINE_EXCEEDED = 4
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


_DIGITS: Final = 4
"""More than any code has; Python refuses to read numbers of thousands."""

_HTTP: Final[Mapping[int, int]] = {
    0: 200, 1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429,
    9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401,
}  # fmt: skip
"""As google/rpc/code.proto has it."""

_NAMES: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)

_REFUSALS: Final[Mapping[int, Code]] = {
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
}

_RESETS: Final[Mapping[int, Code]] = {
    7: Code.UNAVAILABLE,
    8: Code.CANCELLED,
    10: Code.UNAVAILABLE,
    11: Code.RESOURCE_EXHAUSTED,
    12: Code.PERMISSION_DENIED,
}
"""As gRPC over HTTP/2 has it; a connection that is lost counts as the error CONNECT_ERROR."""


def to_http(code: int) -> int:
    """The HTTP status that says the same."""
    return _HTTP.get(code, 500)


def name_of(code: int) -> str:
    """What a code is called; those that gRPC lacks are UNKNOWN, as clients have it."""
    return _NAMES[code] if code < len(_NAMES) else Code.UNKNOWN.name


def of_http(status: int) -> Code:
    """What a refusal of the gateway is to a caller of gRPC; as in Envoy."""
    return _REFUSALS.get(status, Code.UNAVAILABLE)


def of_reset(code: int) -> Code:
    """What a stream's reset says."""
    return _RESETS.get(code, Code.INTERNAL)


def code_of(headers: Headers) -> int | None:
    """The status among trailers, if it is there."""
    found = next((value for name, value in headers if name == b"grpc-status"), None)
    if found is None:
        return None
    return int(found) if found.isdigit() and len(found) < _DIGITS else Code.UNKNOWN
