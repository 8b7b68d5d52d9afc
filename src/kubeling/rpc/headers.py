"""What gRPC says in HTTP/2's headers; source: gRPC's PROTOCOL-HTTP2.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

__all__ = ["CONTENT_TYPE", "metadata_of", "timeout_of", "trailers"]

CONTENT_TYPE: Final = b"application/grpc"

_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_MESSAGE: Final = 2048
"""Bytes: clients refuse heads that are too long, and with them the call's own status."""
_RESERVED: Final = frozenset({"content-type", "te", "user-agent"})


def timeout_of(text: str) -> float | None:
    """The seconds that ``grpc-timeout`` says; none if it says nothing."""
    found = _TIMEOUT.fullmatch(text)
    return int(found[1]) * _UNITS[found[2]] if found else None


def metadata_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The text that a caller sent along."""
    return {
        name: value
        for name, value in headers.items()
        if not name.startswith((":", "grpc-")) and not name.endswith("-bin")
        if name not in _RESERVED
    }


def trailers(code: int, message: str) -> list[tuple[bytes, bytes]]:
    """Trailers that end a call; the message is percent-encoded UTF-8, and cut where it is long."""
    cut = message.encode(errors="replace")[:_MESSAGE].decode(errors="ignore")
    text = quote(cut, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")
    return [(b"grpc-status", b"%d" % code), (b"grpc-message", text.encode())]
