"""Counts of what each revision answered: what a canary is judged by."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["RevisionRecord", "TrafficRecord"]

_RECENT: Final = 1000


@dataclass
class RevisionRecord:
    """One revision's answers by status, and how long the recent ones took."""

    statuses: Counter[int] = field(default_factory=Counter)
    total_seconds: float = 0.0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def add(self, status: int, seconds: float) -> None:
        """Counts one answer."""
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

    def quantile(self, share: float) -> float | None:
        """The seconds that this share of the recent answers took at most."""
        taken = sorted(self.seconds)
        return taken[min(len(taken) - 1, int(share * len(taken)))] if taken else None

    def to_json(self) -> dict[str, Any]:
        """Counts and quantiles."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
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
