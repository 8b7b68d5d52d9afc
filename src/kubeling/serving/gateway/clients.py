"""The clients that are connected, and their leave when the gateway ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

__all__ = ["Client", "Clients"]


class Client(Protocol):
    """A client's connection."""

    def leave(self) -> None:
        """Takes no more requests, and closes when those there are have their answers."""

    def abort(self) -> None:
        """Closes at once."""


class Clients:
    """Connections, whoever speaks with them."""

    def __init__(self) -> None:
        self._connected: set[Client] = set()
        self._changed = asyncio.Event()

    def came(self, client: Client) -> None:
        """A client is connected."""
        self._connected.add(client)

    def left(self, client: Client) -> None:
        """A client is gone, or somebody else's."""
        self._connected.discard(client)
        self._changed.set()

    async def drained(self, seconds: float) -> None:
        """Waits for the answers under way, for some seconds; then closes what is left."""
        for client in list(self._connected):
            client.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._connected:
                    self._changed.clear()
                    await self._changed.wait()
        for client in list(self._connected):
            client.abort()
