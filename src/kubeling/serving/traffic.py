"""Counts of what each revision answered: what a canary is judged by."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["RevisionRecord", "TrafficRecord"]

_RECENT: Final = 1000
_MINUTES: Final = 5


@dataclass(slots=True)
class _Minute:
    number: int
    requests: int = 0
    errors: int = 0


@dataclass
class RevisionRecord:
    """One revision's answers by status, and how long the recent ones took."""

    statuses: Counter[int] = field(default_factory=Counter)
    total_seconds: float = 0.0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    clock: Callable[[], float] = time.monotonic
    _minutes: deque[_Minute] = field(default_factory=lambda: deque(maxlen=_MINUTES))

    def add(self, status: int, seconds: float) -> None:
        """Counts one answer."""
        number = int(self.clock() // 60)
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes.append(_Minute(number))
        minute = self._minutes[-1]
        minute.requests += 1
        minute.errors += status >= 500
        self.statuses[status] += 1
        self.seconds.append(seconds)
        self.total_seconds += seconds

    @property
    def requests(self) -> int:
        """How many were answered."""
        return self.statuses.total()

    @property
    def errors(self) -> int:
        """How many of them were answered with a failure of the server."""
        return sum(count for status, count in self.statuses.items() if status >= 500)

    def recent(self) -> tuple[int, int]:
        """The answers of the last minutes, the present one included, and the failures of them."""
        first = int(self.clock() // 60) - _MINUTES
        minutes = [minute for minute in self._minutes if minute.number > first]
        return sum(m.requests for m in minutes), sum(m.errors for m in minutes)

    def quantile(self, share: float) -> float | None:
        """The seconds that this share of the recent answers took at most."""
        taken = sorted(self.seconds)
        return taken[min(len(taken) - 1, int(share * len(taken)))] if taken else None

    def to_json(self) -> dict[str, Any]:
        """Counts and quantiles."""
        requests, errors = self.recent()
        return {
            "requests": self.requests,
            "errors": self.errors,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "recent": {"minutes": _MINUTES, "requests": requests, "errors": errors},
            "p50_ms": _milliseconds(self.quantile(0.5)),
            "p99_ms": _milliseconds(self.quantile(0.99)),
        }


@dataclass
class TrafficRecord:
    """One service's revisions."""

    revisions: dict[str, RevisionRecord] = field(default_factory=dict)
    wakes: int = 0
    """How often the service was woken."""

    def to_json(self) -> dict[str, Any]:
        """All revisions by name."""
        return {revision: record.to_json() for revision, record in self.revisions.items()}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 3)
