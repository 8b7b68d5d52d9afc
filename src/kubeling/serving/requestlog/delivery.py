"""Takes events to a sink: from a queue of bounded length and size, in batches, again if it fails.

A sink that is away is asked again after a while that grows; meanwhile the queue fills, and what
comes then is dropped and counted. At the end there are some seconds to send what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

from kubeling.serving.requestlog.events import Event, events_of
from kubeling.serving.requestlog.record import NO_JSON, Counts, LogSettings, Record

__all__ = ["Delivery", "Sink", "SinkAway"]

log = logging.getLogger(__name__)

_EVENTS: Final = 2000
_BYTES: Final = 16 * 1024 * 1024
_BYTES_OF_A_BATCH: Final = _BYTES // 2
"""A batch this large does not wait for more, for which there may be no room."""
_TRIES: Final = 6
_PAUSE_SECONDS: Final = 0.25
_LONGEST_PAUSE: Final = 8.0
_GRACE_SECONDS: Final = 5.0


class SinkAway(Exception):
    """The sink cannot be reached now; the same again may succeed later."""


class Sink(Protocol):
    """Where events go, ``size`` at once.

    ``send`` gives the events that are to be tried again, and counts what was refused for good;
    :class:`SinkAway` means all of them. With an ``interval`` fewer are sent when so many seconds
    have passed since the first; without, a batch waits until it is full, or too large to wait.
    """

    size: int
    interval: float

    async def send(self, events: Sequence[Event]) -> Sequence[Event]:
        """Takes a batch."""
        ...

    async def close(self) -> None:
        """Lets go of connections."""
        ...


class Delivery:
    """The request log in front of a sink."""

    def __init__(self, sink: Sink, settings: LogSettings, counts: Counts) -> None:
        self._sink = sink
        self._settings = settings
        self._counts = counts
        self._queue: deque[Event] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()
        self._ending = False
        self._failing = False

    def add(self, record: Record) -> None:
        """Queues the events of a record, or drops them."""
        try:
            for event in events_of(record, self._settings):
                self._add(event)
        except NO_JSON as error:
            log.warning("request not recorded: %s", error)
            self._counts.dropped += 1

    def _add(self, event: Event) -> None:
        if len(self._queue) >= _EVENTS or self._bytes + len(event.data) > _BYTES:
            self._counts.dropped += 1
            return
        self._queue.append(event)
        self._bytes += len(event.data)
        self._changed.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Delivery]:
        """Delivers until the block is left, and then what is left, for some seconds."""
        task = asyncio.create_task(self._run(), name="request log")
        try:
            yield self
        finally:
            self._ending = True
            self._changed.set()
            await asyncio.wait([task], timeout=_GRACE_SECONDS)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self._sink.close()
            self._counts.dropped += len(self._queue)

    async def _run(self) -> None:
        while await self._is_due():
            batch = [self._queue.popleft() for _ in range(min(self._sink.size, len(self._queue)))]
            self._bytes -= sum(len(event.data) for event in batch)
            await self._deliver(batch)

    async def _is_due(self) -> bool:
        """Waits for a batch; false when the end has come and nothing is left."""
        loop = asyncio.get_running_loop()
        due = None
        while not (self._is_full or self._ending):
            if self._queue and self._sink.interval > 0:
                due = due or loop.time() + self._sink.interval
            left = None if due is None else due - loop.time()
            if left is not None and left <= 0:
                break
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)
        return bool(self._queue)

    @property
    def _is_full(self) -> bool:
        """Whether a batch is complete, or as much of it as there is room for."""
        return len(self._queue) >= min(self._sink.size, _EVENTS) or self._bytes >= _BYTES_OF_A_BATCH

    async def _deliver(self, batch: Sequence[Event]) -> None:
        left = batch
        try:
            left = await self._tried(batch)
        except Exception:
            # What is wrong with one batch must not end the log of all that comes after it.
            log.exception("%d requests and answers cannot be recorded", len(batch))
        finally:
            # Those that were given up, and those that the end cut off.
            self._counts.dropped += len(left)

    async def _tried(self, batch: Sequence[Event]) -> Sequence[Event]:
        pause = _PAUSE_SECONDS
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                batch = await self._sink.send(batch)
            except SinkAway as error:
                self._say(error)
                continue
            self._failing = self._failing and bool(batch)
            if not batch:
                break
        return batch

    def _say(self, error: SinkAway) -> None:
        """Once for each time that it goes away, however much there is to record."""
        if not self._failing:
            self._failing = True
            log.warning("requests are not recorded at present: %s", error)
