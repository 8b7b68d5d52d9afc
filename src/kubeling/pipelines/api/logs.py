"""Logs of steps as they are written, in bounded memory."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from kubeling.kube.client import Client

__all__ = ["stream_log"]

_HEADERS: Final = {
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "no-cache, private",
    "X-Content-Type-Options": "nosniff",
}


async def stream_log(
    request: web.Request, client: Client, pod: str, namespace: str, *, follow: bool
) -> web.StreamResponse:
    """A pod's log; what goes wrong before its first byte is raised."""
    pieces = client.logs(pod, namespace, follow=follow)
    first = await anext(pieces, b"")
    response = web.StreamResponse(headers=_HEADERS)
    await response.prepare(request)
    await response.write(first)
    async for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response
