"""A descriptor (pipe, FIFO, terminal, socket) read and written on the event loop.

asyncio's own pipe transports buffer, log a terminal's hang-up as an error, and with uvloop refuse
terminals altogether; here nothing is read before it is asked for, which is all the back-pressure
there is to a command's output.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Final

__all__ = ["FileStream"]

_CHUNK: Final = 1 << 16


class FileStream:
    """Owns a descriptor. One reader and one writer at a time; :meth:`close` wakes both."""

    def __init__(self, file: int) -> None:
        os.set_blocking(file, False)
        self._file = file
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def file(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._file

    async def read(self) -> bytes:
        """The next bytes; none at the end, also where a terminal's other side has hung up."""
        while self._file >= 0:
            try:
                return os.read(self._file, _CHUNK)
            except BlockingIOError:
                await self._ready(writing=False)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                return b""
        return b""

    async def write(self, data: bytes) -> bool:
        """Returns when all was taken, or ``False`` when nobody takes any more."""
        view = memoryview(data)
        while view:
            if self._file < 0:
                return False
            try:
                view = view[os.write(self._file, view) :]
            except BlockingIOError:
                await self._ready(writing=True)
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.EIO):
                    raise
                return False
        return True

    def close(self) -> None:
        """Closes the descriptor; whoever waits for it sees its end. May be called again."""
        if self._file < 0:
            return
        self._loop.remove_reader(self._file)
        self._loop.remove_writer(self._file)
        os.close(self._file)
        self._file = -1
        for waiting in self._waiting:
            _tell(waiting)

    async def _ready(self, *, writing: bool) -> None:
        add, remove = (
            (self._loop.add_writer, self._loop.remove_writer)
            if writing
            else (self._loop.add_reader, self._loop.remove_reader)
        )
        ready = self._loop.create_future()
        self._waiting.add(ready)
        add(self._file, _tell, ready)
        try:
            await ready
        finally:
            self._waiting.discard(ready)
            if self._file >= 0:
                remove(self._file)


def _tell(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
