"""Sends spans from a thread of its own, a few seconds after they ended.

What waits is bounded: if nobody takes the spans, the newest are dropped and counted, and whoever
records them never waits. The thread begins with the first span, and only it imports the SDK, so
that a server's start costs no more with traces than without.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from kubeling.monitoring.tracing.spans import Span

__all__ = ["Outlet", "Sending"]

log = logging.getLogger(__name__)

_PATIENCE: Final = 5.0
"""Seconds for what is left at the end."""


class Outlet(Protocol):
    """Where spans go."""

    def deliver(self, spans: Sequence[Span]) -> bool:
        """Whether they arrived; waits for it, and for another try."""

    def close(self) -> None:
        """Gives up what is being delivered, from another thread."""


class Sending:
    """Spans that have ended, on their way; ``open_outlet`` is called in the thread."""

    def __init__(
        self,
        open_outlet: Callable[[], Outlet],
        *,
        queue: int = 2048,
        batch: int = 512,
        delay: float = 5.0,
    ) -> None:
        self._open = open_outlet
        self._most = queue
        self._batch = min(batch, queue)
        self._delay = delay
        self._waiting: deque[Span] = deque()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._outlet: Outlet | None = None
        self._closing = False
        self._broken = False
        self.dropped = 0
        """Spans that nobody will see."""

    def add(self, span: Span) -> None:
        """Takes a span that has ended, on the thread that records."""
        if self._closing or len(self._waiting) >= self._most:
            self.dropped += 1
            return
        self._waiting.append(span)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
            self._thread.start()
        elif len(self._waiting) == self._batch:
            self._wake.set()

    def close(self) -> None:
        """Sends what waits, for a few seconds; nothing is taken any more."""
        self._closing = True
        self._wake.set()
        if self._thread is None:
            return
        self._thread.join(_PATIENCE)
        if self._thread.is_alive() and self._outlet is not None:
            self._outlet.close()
            self._thread.join(1.0)

    def _run(self) -> None:
        # The request that the first span is of is not to share its time with an import.
        self._wake.wait(self._delay)
        try:
            self._outlet = self._open()
        except Exception as error:
            # OpenTelemetry's variables may say anything; requests are answered all the same.
            log.warning("no traces are sent: %s", error)
            self._closing = True
            self._waiting.clear()
            return
        while True:
            self._wake.clear()
            last = self._closing
            self._deliver(self._outlet)
            if last:
                return
            self._wake.wait(self._delay)

    @staticmethod
    def _arrive(outlet: Outlet, spans: Sequence[Span]) -> bool:
        try:
            return outlet.deliver(spans)
        except Exception:
            # Whatever is wrong with these, the next ones are to be sent.
            log.exception("%d spans cannot be sent", len(spans))
            return False

    def _deliver(self, outlet: Outlet) -> None:
        while self._waiting:
            spans = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
            arrived = self._arrive(outlet, spans)
            if not arrived:
                self.dropped += len(spans)
            if arrived == self._broken:
                self._broken = not arrived
                if arrived:
                    log.info("traces arrive again; %d spans are lost", self.dropped)
                else:
                    log.warning("traces do not arrive; until they do, spans are dropped")
            if not arrived:
                return
