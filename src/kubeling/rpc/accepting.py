"""Takes all callers who wait in one turn of the event loop.

libuv takes one a turn: where answers take time turns are long, and who came first is answered many
times before the last is heard at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

__all__ = ["BACKLOG", "accepting"]

log = logging.getLogger(__name__)

BACKLOG: Final = 1024
_PAUSE_SECONDS: Final = 1.0


@contextlib.contextmanager
def accepting(
    listening: socket.socket, protocol: Callable[[], asyncio.BaseProtocol]
) -> Iterator[None]:
    """Gives each caller a protocol of its own until the block is left, and closes the socket."""
    acceptor = _Acceptor(listening, protocol)
    listening.setblocking(False)
    listening.listen(BACKLOG)
    acceptor.resume()
    try:
        yield
    finally:
        acceptor.close()


class _Acceptor:
    def __init__(
        self, listening: socket.socket, protocol: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        self._listening = listening
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._resumption: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def resume(self) -> None:
        self._loop.add_reader(self._listening, self._accept)

    def close(self) -> None:
        if self._resumption is not None:
            self._resumption.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()
        for task in self._tasks:
            task.cancel()

    def _accept(self) -> None:
        try:
            while True:
                channel, _ = self._listening.accept()
                task = self._loop.create_task(self._connect(channel))
                self._tasks.add(task)
                task.add_done_callback(partial(self._connected, channel))
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            # Most likely too many files are open: who waits goes on waiting.
            log.warning("no callers are taken for %g s: %s", _PAUSE_SECONDS, error)
            self._loop.remove_reader(self._listening)
            self._resumption = self._loop.call_later(_PAUSE_SECONDS, self.resume)

    async def _connect(self, channel: socket.socket) -> None:
        await self._loop.connect_accepted_socket(self._protocol, channel)

    def _connected(self, channel: socket.socket, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            channel.close()
        elif (error := task.exception()) is not None:
            channel.close()
            log.warning("a caller was lost: %s", error)
