"""The event stream that tells a page when to fetch itself again.

Sending the word instead of the content keeps one way of rendering; a burst of changes is one word.
A stream opens with the word: what changed after the page was rendered, or while the line was
broken, is then on the page too. It waits for no kind, as this API server may not have all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import web

from kubeling.component import Context
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["stream_changes"]

_QUIET_SECONDS = 0.25
_KEEP_ALIVE_SECONDS = 20.0


async def stream_changes(
    request: web.Request, context: Context, resources: Sequence[Resource]
) -> web.StreamResponse:
    """Sends ``event: changed`` now and after any change, until the browser leaves."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
    )
    await response.prepare(request)
    changed = asyncio.Event()

    def note(_old: Obj | None, _new: Obj | None) -> None:
        changed.set()

    for resource in resources:
        context.informers.of(resource).add_handler(note)
    changed.set()
    try:
        while True:
            try:
                async with asyncio.timeout(_KEEP_ALIVE_SECONDS):
                    await changed.wait()
            except TimeoutError:
                await response.write(b": still here\n\n")
                continue
            await asyncio.sleep(_QUIET_SECONDS)
            changed.clear()
            await response.write(b"event: changed\ndata: \n\n")
    except (ConnectionResetError, ConnectionError):
        return response
    finally:
        for resource in resources:
            context.informers.of(resource).remove_handler(note)
