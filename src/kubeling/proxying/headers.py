"""Headers that belong to one connection, and go no further (RFC 9110, 7.6.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from multidict import CIMultiDict

__all__ = ["HOP_BY_HOP", "end_to_end"]

HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def end_to_end(headers: Mapping[str, str], *also: str) -> CIMultiDict[str]:
    """The headers without the connection's own, and those named in lower case."""
    dropped = HOP_BY_HOP.union(also)
    for name, value in headers.items():
        if name.lower() == "connection":
            dropped |= {one.strip().lower() for one in value.split(",")}
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in dropped)
