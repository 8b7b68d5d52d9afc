"""The platform's port, for connections that say nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from aiohttp import web

from kubeling.gateway.door import DoorSite


@contextlib.asynccontextmanager
async def door(silent_seconds: float) -> AsyncIterator[tuple[DoorSite, int]]:
    """An open door, and its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    runner = web.AppRunner(web.Application())
    await runner.setup()
    site = DoorSite(runner, listener, [], silent_seconds=silent_seconds)
    await site.start()
    yield site, listener.getsockname()[1]
    await runner.cleanup()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Waits for the other side to close."""
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionResetError):
            return await reader.read() == b""
    return True


async def test_who_says_nothing_is_not_waited_for_for_ever() -> None:
    async with door(0.1) as (_, port):
        silent, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await is_closed(silent)
        writer.close()


async def test_who_has_said_nothing_is_let_go_when_the_door_closes() -> None:
    async with door(600) as (site, port):
        silent, writer = await asyncio.open_connection("127.0.0.1", port)
        halfway, other = await asyncio.open_connection("127.0.0.1", port)
        other.write(b"PRI * HTTP/2.0")
        speaking, third = await asyncio.open_connection("127.0.0.1", port)
        third.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await speaking.readline()).startswith(b"HTTP/1.1 404")
        await site.stop()
        assert await is_closed(silent)
        assert await is_closed(halfway)
        for one in (writer, other, third):
            one.close()
