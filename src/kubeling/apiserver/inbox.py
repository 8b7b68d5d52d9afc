"""Carrying one connection into a pod: what a client sends waits here until the pod takes it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from kubeling.apiserver.node import PortConnection

__all__ = ["Inbox", "carry"]

_ROOM: Final = 1 << 20


class Inbox:
    """A queue bounded by bytes: who fills it waits, until it is taken or nobody will."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._closed = False
        self._changed = asyncio.Condition()

    async def put(self, data: bytes) -> None:
        """Adds data; none at all is the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self._size < _ROOM)
            if not self._closed:
                self._pieces.append(data)
                self._size += len(data)
                self._changed.notify_all()

    async def get(self) -> bytes:
        """The next piece, or none at the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._pieces)
            data = self._pieces.popleft()
            self._size -= len(data)
            self._changed.notify_all()
        return data

    async def close(self) -> None:
        """Nobody takes any more."""
        async with self._changed:
            self._closed = True
            self._pieces.clear()
            self._changed.notify_all()


async def carry(
    connection: PortConnection, inbox: Inbox, send: Callable[[bytes], Awaitable[None]]
) -> None:
    """Carries both ways until the pod has said all it has to say; closes the connection."""
    inwards = asyncio.create_task(_inwards(connection, inbox))
    try:
        while data := await connection.read():
            await send(data)
    finally:
        inwards.cancel()
        await asyncio.gather(inwards, return_exceptions=True)
        await inbox.close()
        connection.close()


async def _inwards(connection: PortConnection, inbox: Inbox) -> None:
    while data := await inbox.get():
        await connection.write(data)
    connection.write_eof()
