"""A log of the requests that failed, so that one of them can be found by its id, or its trace's.

A line for each, with nothing of its body, its query or its token; of a flood, so many a second and
how many more there were.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from kubeling.kube.clock import Clock
from kubeling.kube.objects import Key

__all__ = ["Failure", "Failures", "trace_of"]

log = logging.getLogger(__name__)

_PER_SECOND: Final = 20
_LONGEST: Final = 200


@dataclass(slots=True)
class Failure:
    """A request, by its method and path, and what became of it."""

    key: Key
    request: str
    answer: str
    why: str
    revision: str = ""
    request_id: str = ""
    trace_id: str = ""


class Failures:
    """Requests that were answered by 5xx, or by half of an answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()
        self._told = self._more = 0

    def tell(self, failed: Failure) -> None:
        """Writes its line."""
        now = self._clock.monotonic()
        if now - self._since >= 1:
            if self._more:
                log.warning("%d more requests failed", self._more)
            self._since, self._told, self._more = now, 0, 0
        if self._told == _PER_SECOND:
            self._more += 1
            return
        self._told += 1
        log.warning(
            "%s of %s: %s%s%s%s%s",
            _clean(failed.request),
            failed.key,
            failed.answer,
            f" from {failed.revision}" if failed.revision else "",
            f": {_clean(failed.why)}" if failed.why else "",
            f"; request {_clean(failed.request_id)}" if failed.request_id else "",
            f"; trace {failed.trace_id}" if failed.trace_id else "",
        )


def trace_of(traceparent: str) -> str:
    """The trace that a caller named."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) > 3 and parts[1].isalnum() and len(parts[1]) == 32 else ""


def _clean(text: str) -> str:
    """On one line, and not for ever."""
    return "".join(c if c.isprintable() else " " for c in text[:_LONGEST])
