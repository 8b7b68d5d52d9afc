"""HTTP/2 connections to servers, by address: shared by calls, and as many as calls need."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from kubeling.proxying.http2.connection import Connection

__all__ = ["Pool"]

_CONNECT_SECONDS: Final = 5.0


class Pool:
    """Connections that are open, and those being opened."""

    def __init__(self) -> None:
        self._open: dict[str, list[Connection]] = {}
        self._opening: dict[str, asyncio.Task[Connection]] = {}

    def ready(self, address: str) -> Connection | None:
        """A connection to ``host:port`` that takes a further stream, if there is one."""
        return next((one for one in self._open.get(address, ()) if one.has_room), None)

    async def connection(self, address: str) -> Connection:
        """A connection that takes a further stream; raises ``OSError`` or ``TimeoutError``."""
        while True:
            if found := self.ready(address):
                return found
            await self._opened(address)

    def _opened(self, address: str) -> Awaitable[Connection]:
        """Those who need a connection at the same time wait for the same one."""
        if address not in self._opening:
            task = asyncio.create_task(self._connect(address), name=f"HTTP/2 to {address}")
            task.add_done_callback(lambda _: self._opening.pop(address))
            self._opening[address] = task
        return asyncio.shield(self._opening[address])

    async def _connect(self, address: str) -> Connection:
        host, _, port = address.rpartition(":")
        made = Connection(closed=lambda one: self._forget(address, one))
        async with asyncio.timeout(_CONNECT_SECONDS):
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: made, host.strip("[]"), int(port))
        self._open.setdefault(address, []).append(made)
        return made

    def _forget(self, address: str, connection: Connection) -> None:
        found = self._open.get(address, [])
        if connection in found:
            found.remove(connection)
        if not found:
            self._open.pop(address, None)

    def close(self) -> None:
        """Closes all."""
        for task in self._opening.values():
            task.cancel()
        for connections in list(self._open.values()):
            for connection in list(connections):
                connection.abort()
