"""One consumer of the event stream: an ordered queue that would rather end than lag."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from kubeling.apiserver.records import Event

__all__ = ["Watcher"]

QUEUE_LIMIT: Final = 4096
BATCH_LIMIT: Final = 100


class Watcher:
    """Delivers every event of a resource after a version, in order, once.

    A consumer that falls ``limit`` events behind is dropped: its stream ends and it starts again
    from the last version it saw, so a slow client costs bounded memory.
    """

    def __init__(
        self,
        namespace: str,
        name: str,
        backlog: Iterable[Event],
        forget: Callable[[Watcher], None],
        limit: int = QUEUE_LIMIT,
    ) -> None:
        self._namespace = namespace
        self._name = name
        self._limit = limit
        self._forget = forget
        self._queue: deque[Event] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._finishing = False
        self.closed = False
        self.roused = False
        for event in backlog:
            if self._wants(event):
                self._queue.append(event)

    def offer(self, event: Event) -> None:
        """Queues an event; called by the store, in commit order."""
        if not self._wants(event):
            return
        if len(self._queue) >= self._limit:
            self.close()
            return
        self._queue.append(event)
        self._notify()

    async def next(self, timeout: float | None = None) -> Event | None:
        """The next event, or ``None`` after ``timeout`` seconds or when the stream has ended."""
        try:
            async with asyncio.timeout(timeout):
                await self._filled()
        except TimeoutError:
            return None
        return self._queue.popleft() if self._queue else None

    async def take(self) -> Sequence[Event]:
        """The next events, as soon as there are any or the consumer is roused.

        They are few enough for a consumer that is slow to hold them all.
        """
        if not self.roused:
            await self._filled()
        return [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_LIMIT))]

    def rouse(self) -> None:
        """Ends the wait for events, or the next one if there is none; sets :attr:`roused`."""
        self.roused = True
        self._notify()

    def finish(self) -> None:
        """Takes no more events; the stream ends when those that are queued are delivered."""
        self._finishing = True
        self._forget(self)
        if not self._queue:
            self.close()

    def close(self) -> None:
        """Ends the stream; what is queued is dropped."""
        if not self.closed:
            self.closed = True
            self._queue.clear()
            self._forget(self)
            self._notify()

    def _wants(self, event: Event) -> bool:
        _, namespace, name = event.record.key
        return self._namespace in ("", namespace) and self._name in ("", name)

    async def _filled(self) -> None:
        if not self._queue and self._finishing:
            self.close()
        if not self._queue and not self.closed:
            self._wake = asyncio.get_running_loop().create_future()
            try:
                await self._wake
            finally:
                self._wake = None

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
