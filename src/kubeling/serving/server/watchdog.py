"""Ends a server whose prediction never comes back, so that it is started again.

A library that waits for ever, or a loop without an end, leaves a server that takes requests and
answers none: its health checks may pass, as predictions that take long run in a thread. Nobody
waits for an answer longer than the service's timeout (``SERVING_TIMEOUT``, else the gateway's
600 s), so a prediction that takes longer has been given up by who asked for it. A thread looks, as
the event loop itself may be what stands still; where everything stood is in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final
from weakref import WeakSet

from kubeling.serving.timeouts import USUAL_TIMEOUT

__all__ = ["Work", "patience", "watched"]

_LOOKS: Final = 20
"""Looks within the time that is allowed."""
_LONGEST_PAUSE: Final = 10.0


class Work:
    """What is being done at one place; ``since`` is when it began, 0 while there is nothing."""

    __slots__ = ("__weakref__", "since")

    def __init__(self) -> None:
        self.since = 0.0
        _ALL.add(self)


_ALL: Final[WeakSet[Work]] = WeakSet()


def patience() -> float:
    """Seconds after which nobody waits for an answer any more."""
    text = os.environ.get("SERVING_TIMEOUT", "")
    return max(float(text), USUAL_TIMEOUT) if text.isdecimal() else USUAL_TIMEOUT


@contextlib.contextmanager
def watched(limit: float, give_up: Callable[[str], None] | None = None) -> Iterator[None]:
    """Watches the running event loop, and all work, until the block is left."""
    found = _Watchdog(asyncio.get_running_loop(), limit, give_up or _end)
    found.start()
    try:
        yield
    finally:
        found.over.set()


class _Watchdog(threading.Thread):
    def __init__(
        self, loop: asyncio.AbstractEventLoop, limit: float, give_up: Callable[[str], None]
    ) -> None:
        super().__init__(name="watchdog", daemon=True)
        self.over = threading.Event()
        self._loop = loop
        self._limit = limit
        self._give_up = give_up
        self._turn = Work()

    def run(self) -> None:
        pause, looked = min(self._limit / _LOOKS, _LONGEST_PAUSE), time.perf_counter()
        while not self.over.wait(pause):
            before, looked = looked, time.perf_counter()
            if looked - before > self._limit / 2:
                continue  # The whole process stood still, and what it does has had no time.
            if not self._turn.since:
                self._turn.since = looked
                with contextlib.suppress(RuntimeError):  # The loop is closed: it is over.
                    self._loop.call_soon_threadsafe(self._turned)
            begun = [since for work in list(_ALL) if (since := work.since)]
            if looked - min(begun, default=looked) > self._limit:
                text = f"a prediction has taken more than {self._limit:g} s; the server ends"
                self._give_up(text)
                return

    def _turned(self) -> None:
        """The loop is not held up."""
        self._turn.since = 0.0


def _end(why: str) -> None:
    faulthandler.dump_traceback(file=sys.stderr)
    print(why, file=sys.stderr, flush=True)
    os._exit(1)
