"""Ends the work of a request whose client is gone: nobody reads what a pod still makes of it.

aiohttp can cancel the handlers of clients that leave, but only those of a whole server: then an
action of the dashboard would stop half-way as well. Nor does it tell a single handler, which sees
it by its connection alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from aiohttp import web

__all__ = ["LEFT", "while_there"]

LEFT: Final = 499
"""The status that such requests are counted by; nginx's."""
_LOOK_SECONDS: Final = 1.0


async def while_there(
    request: web.Request, answering: Coroutine[Any, Any, web.StreamResponse]
) -> web.StreamResponse:
    """The answer; without a client it is cancelled within a second."""
    task = asyncio.create_task(answering, name="request")
    try:
        while not task.done():
            await asyncio.wait((task,), timeout=_LOOK_SECONDS)
            if request.transport is None and not task.done():
                return web.Response(status=LEFT)
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
