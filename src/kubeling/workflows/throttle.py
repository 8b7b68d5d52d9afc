"""How many Workflows run at the same time: in all, and in each namespace.

Upstream: ``workflow/sync/multi_throttler.go``. Whoever may not run yet waits by priority, then by
age; a namespace that is full does not hold up the others. A Workflow that runs goes on, whatever
the limits have become.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from kubeling.kube.objects import Key

__all__ = ["Rate", "Throttle"]


class Throttle:
    """Decides who may run; ``wake`` is told who may do so now. A limit of 0 is none."""

    def __init__(self, limit: int, of_namespaces: int, wake: Callable[[Key], Any]) -> None:
        self._limit = limit
        self._of_namespaces = of_namespaces
        self._own_limits: dict[str, int] = {}
        self._wake = wake
        self._running: dict[str, set[Key]] = {}
        self._count = 0
        self._waiting: set[Key] = set()
        self._queues: dict[str, list[tuple[int, str, Key]]] = {}

    def admit(self, key: Key, priority: int, created: str) -> bool:
        """Whether a Workflow may run; otherwise it waits until it is woken."""
        if self._runs(key):
            return True
        if key not in self._waiting:
            self._waiting.add(key)
            queue = self._queues.setdefault(key.namespace, [])
            heapq.heappush(queue, (-priority, created, key))
        self._fill(asking=key)
        return self._runs(key)

    def count(self, key: Key) -> None:
        """Notes that a Workflow runs already."""
        if not self._runs(key):
            self._waiting.discard(key)
            self._running.setdefault(key.namespace, set()).add(key)
            self._count += 1

    def release(self, key: Key) -> None:
        """Notes that a Workflow has ended or is no more."""
        self._waiting.discard(key)
        if self._runs(key):
            self._running[key.namespace].discard(key)
            self._count -= 1
            self._fill()

    def limit_namespace(self, namespace: str, limit: int | None) -> None:
        """Gives a namespace a limit of its own, or takes it back."""
        if self._own_limits.get(namespace) == limit:
            return
        if limit is None:
            del self._own_limits[namespace]
        else:
            self._own_limits[namespace] = limit
        self._fill()

    def _runs(self, key: Key) -> bool:
        return key in self._running.get(key.namespace, ())

    def _fill(self, asking: Key | None = None) -> None:
        """Lets run as many as may, the first first."""
        while self._waiting and not 0 < self._limit <= self._count:
            first = min(filter(None, map(self._first, list(self._queues))), default=None)
            if first is None:
                return
            key = first[2]
            heapq.heappop(self._queues[key.namespace])
            self.count(key)
            if key != asking:
                self._wake(key)

    def _first(self, namespace: str) -> tuple[int, str, Key] | None:
        """The next of a namespace, if it has room and anybody waits there."""
        queue = self._queues[namespace]
        while queue and queue[0][2] not in self._waiting:
            heapq.heappop(queue)
        if not queue:
            del self._queues[namespace]
            return None
        limit = self._own_limits.get(namespace, self._of_namespaces)
        full = 0 < limit <= len(self._running.get(namespace, ()))
        return None if full else queue[0]


class Rate:
    """So many a second after so many at once, by a monotonic clock (``resourceRateLimit``)."""

    def __init__(self, limit: float, burst: int, now: Callable[[], float]) -> None:
        self._limit = limit
        self._burst = burst
        self._now = now
        self._left = float(burst)
        self._at = now()

    @property
    def wait(self) -> float:
        """Seconds until one more may be."""
        self._refill()
        return max(0.0, (1 - self._left) / self._limit)

    def take(self, wanted: int) -> int:
        """How many of those wanted may be now."""
        self._refill()
        taken = min(wanted, int(self._left))
        self._left -= taken
        return taken

    def _refill(self) -> None:
        now = self._now()
        self._left = min(self._burst, self._left + (now - self._at) * self._limit)
        self._at = now
