"""Logs of steps as they are written, in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

__all__ = ["stream_log"]

_HEADERS: Final = {
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "no-cache, private",
    "X-Content-Type-Options": "nosniff",
}


async def stream_log(request: web.Request, pieces: AsyncIterator[bytes]) -> web.StreamResponse:
    """A log; what goes wrong before its first byte is raised."""
    first = await anext(pieces, b"")
    response = web.StreamResponse(headers=_HEADERS)
    await response.prepare(request)
    await response.write(first)
    async for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response
