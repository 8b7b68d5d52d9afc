"""The gateway's connections to pods, kept for the next request."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

__all__ = ["Connections"]

_OF_CLIENTS: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that are the client's to send, or not to."""
_KEPT_ALIVE_SECONDS: Final = 4.0


class Connections:
    """One session; it lives in a task, so that the loop's end closes it."""

    def __init__(self) -> None:
        self._session: asyncio.Future[aiohttp.ClientSession] | None = None
        self._lifespan: asyncio.Task[None] | None = None

    async def session(self) -> aiohttp.ClientSession:
        """The session, opened on first use."""
        if self._session is None:
            self._session = asyncio.get_running_loop().create_future()
            self._lifespan = asyncio.create_task(self._live(), name="inference gateway")
        return await asyncio.shield(self._session)

    async def _live(self) -> None:
        assert self._session is not None
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_ALIVE_SECONDS)
        async with aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_OF_CLIENTS,
        ) as session:
            self._session.set_result(session)
            await asyncio.get_running_loop().create_future()
