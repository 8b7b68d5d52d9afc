"""Writes of one turn of the event loop as one.

grpclib writes an answer's head, message and end each by itself, and each was a system call: a third
of what a small call costs. Here what is written in one turn, of all the calls of a connection, goes
out together at its end.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from grpclib.protocol import H2Protocol

__all__ = ["GatheringProtocol"]


class GatheringProtocol(H2Protocol):
    """grpclib's protocol over a transport that gathers what is written."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(_Gathering(cast(asyncio.Transport, transport)))


class _Gathering(asyncio.BaseTransport):
    """What grpclib uses of a transport."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._written: list[bytes] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        written, self._written = self._written, []
        if written and not self._transport.is_closing():
            self._transport.write(b"".join(written))
