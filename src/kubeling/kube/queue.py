"""A work queue that holds each key at most once and never hands one key to two workers.

The semantics are client-go's ``workqueue``: a key added while it is being worked on is handed out
again when the worker is done; failures back off exponentially per key. Where work begun and work
not begun wait for the same workers, what is begun goes first, but not always: of a thousand new
keys some are begun while others are brought to their end.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

__all__ = ["WorkQueue"]

K = TypeVar("K")

_TURNS: Final = 8
"""Of so many keys handed out, one is not begun, if one waits."""


class WorkQueue(Generic[K]):
    """Keys waiting for a worker; the delays are in seconds.

    ``begun`` tells keys whose work is under way from those that may wait for it.
    """

    def __init__(
        self,
        base_delay: float = 0.005,
        max_delay: float = 60.0,
        begun: Callable[[K], bool] = lambda _: True,
    ) -> None:
        self._base = base_delay
        self._max = max_delay
        self._begun = begun
        self._ready: deque[K] = deque()
        self._fresh: deque[K] = deque()
        self._turn = 0
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._ready) + len(self._fresh)

    def add(self, key: K) -> None:
        """Queues a key now, unless it is queued already."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._push(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Queues a key after a delay; an earlier appointment stays."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        # Loops may round to milliseconds: who is called early would ask again, and again.
        when = loop.time() + math.ceil(seconds * 1000) / 1000
        if timer := self._timers.get(key):
            if timer.when() <= when:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(when, self._due, key)

    def add_rate_limited(self, key: K, longest: float = math.inf) -> float:
        """Queues a key after its back-off, at most ``longest``; returns the delay."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(self._base * 2.0 ** min(failures, 64), self._max, longest)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Ends a key's back-off."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Waits for a key; the caller must call :meth:`done` with it."""
        while not self._ready and not self._fresh:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(future)
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self._wake()
                raise
        key = self._pop()
        self._dirty.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: K) -> None:
        """Ends the work on a key and queues it again if it was added meanwhile."""
        self._processing.discard(key)
        if key in self._dirty:
            self._push(key)

    def close(self) -> None:
        """Cancels the appointments."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _push(self, key: K) -> None:
        (self._ready if self._begun(key) else self._fresh).append(key)
        self._wake()

    def _pop(self) -> K:
        self._turn = (self._turn + 1) % _TURNS
        if self._ready and (self._turn or not self._fresh):
            return self._ready.popleft()
        return self._fresh.popleft()

    def _wake(self) -> None:
        while self._waiters:
            future = self._waiters.popleft()
            if not future.done():
                future.set_result(None)
                return
