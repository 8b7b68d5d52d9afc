"""Listening without serving: what speaks gRPC is loaded when the first caller comes.

Most platforms and model servers are never called so, and it takes as long to load as all else
that they need.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from kubeling.rpc.accepting import BACKLOG

__all__ = ["serving_when_called"]

log = logging.getLogger(__name__)

Serve = Callable[[socket.socket], AbstractAsyncContextManager[int]]
"""Serves at a socket that listens; called in a thread, because it may have much to load."""


@contextlib.asynccontextmanager
async def serving_when_called(serve: Serve, host: str, port: int) -> AsyncIterator[int]:
    """Listens until the block is left; gives the port. Callers wait for the first to be served."""
    listening = socket.create_server((host, port), backlog=BACKLOG)
    listening.setblocking(False)
    serving = asyncio.create_task(_serve(serve, listening), name=f"gRPC at port {port}")
    try:
        yield int(listening.getsockname()[1])
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        listening.close()


async def _serve(serve: Serve, listening: socket.socket) -> None:
    try:
        await _called(listening)
        async with await asyncio.to_thread(serve, listening):
            await asyncio.Event().wait()
    except Exception:
        # It is one of several things that the platform serves, and no reason to end the others.
        log.exception("gRPC at %s is not served", listening.getsockname())
        # Who calls is then refused, instead of waiting for an answer.
        listening.close()


async def _called(listening: socket.socket) -> None:
    """Returns when somebody is waiting to be accepted."""
    loop, somebody = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(listening, somebody.set)
    try:
        await somebody.wait()
    finally:
        loop.remove_reader(listening)
