"""Heads of requests that were read before.

A client that keeps its connections sends the same head again and again, byte for byte, but for the
length of what follows; parsing it costs more than looking it up. Only a whole request that came by
itself is learned from, so that what is remembered is what the parser made of exactly these bytes.
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["Head", "Heads"]

_END: Final = b"\r\n\r\n"
_KEPT: Final = 256
_LONGEST: Final = 4096
_VARYING: Final = frozenset(
    {"b3", "ce-id", "date", "traceparent", "x-b3-spanid", "x-b3-traceid", "x-request-id"}
)
"""Headers that make every head another one."""
_UNUSUAL: Final = frozenset({"content-encoding", "expect", "transfer-encoding", "upgrade"})


class Head(msgspec.Struct, gc=False):
    """What a request says before its body; after its answer the connection is kept."""

    method: str
    path: str
    headers: dict[str, str]
    length: int


class Heads:
    """The heads that a server's clients lately sent."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head and the body, if these bytes are a known head and just the body it wants."""
        end = data.find(_END) + 4
        head = self._known.get(data[:end])
        if head is None or len(data) - end != head.length:
            return None
        return head, data[end:]

    def learn(self, data: bytes, method: str, path: str, headers: dict[str, str]) -> None:
        """Remembers the head of a request; ``data`` is what came, and the first of it is this."""
        end = data.find(_END) + 4
        length = headers.get("content-length", "")
        if end > _LONGEST or not length.isdecimal() or int(length) != len(data) - end:
            return
        # A line for each header: then the first empty line is the one that ends the head.
        if data.count(b"\n", 0, end) != len(headers) + 2:
            return
        if not (_VARYING.isdisjoint(headers) and _UNUSUAL.isdisjoint(headers)):
            return
        if len(self._known) == _KEPT:
            self._known.clear()
        self._known[data[:end]] = Head(method, path, headers, int(length))
