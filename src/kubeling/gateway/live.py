"""The event stream that tells a page when to fetch itself again.

Sending the word instead of the content keeps one way of rendering; a burst of changes is one word.
A stream opens with the word: what changed after the page was rendered, or while the line was
broken, is then on the page too. It waits for no kind, as this API server may not have all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from kubeling.component import Context
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["stream_changes"]

_QUIET_SECONDS = 0.25
_POLL_SECONDS = 1.0
_KEEP_ALIVE_SECONDS = 20.0


async def stream_changes(
    request: web.Request,
    context: Context,
    resources: Sequence[Resource],
    *,
    concerns: Callable[[Obj], bool] | None = None,
    poll: Callable[[], Awaitable[str]] | None = None,
    quiet: float = _QUIET_SECONDS,
) -> web.StreamResponse:
    """Sends ``event: changed`` now and after any change, until the browser leaves.

    ``concerns`` says which objects' changes count. ``poll`` is asked every second for a word that
    changes with what is no object; ``quiet`` is how long changes are gathered.
    """
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
    )
    await response.prepare(request)
    changed = asyncio.Event()

    def note(old: Obj | None, new: Obj | None) -> None:
        obj = new or old
        if obj is not None and (concerns is None or concerns(obj)):
            changed.set()

    for resource in resources:
        context.informers.of(resource).add_handler(note)
    changed.set()
    try:
        await _tell(response, changed, poll, quiet)
    except (ConnectionResetError, ConnectionError):
        return response
    finally:
        for resource in resources:
            context.informers.of(resource).remove_handler(note)
    return response


async def _tell(
    response: web.StreamResponse,
    changed: asyncio.Event,
    poll: Callable[[], Awaitable[str]] | None,
    quiet: float,
) -> None:
    word, silent = "", 0.0
    patience = _POLL_SECONDS if poll is not None else _KEEP_ALIVE_SECONDS
    while True:
        try:
            async with asyncio.timeout(patience):
                await changed.wait()
        except TimeoutError:
            silent += patience
            if poll is not None and (found := await poll()) != word:
                word = found
                changed.set()
            elif silent >= _KEEP_ALIVE_SECONDS:
                silent = 0.0
                await response.write(b": still here\n\n")
            continue
        await asyncio.sleep(quiet)
        silent = 0.0
        changed.clear()
        await response.write(b"event: changed\ndata: \n\n")
