"""What one pod exposed at a few moments, and the values that makes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from typing import Final, NamedTuple

from kubeling.apiserver.custommetrics.exposition import Labels, Series
from kubeling.kube.selectors import LabelSelector

__all__ = ["Samples", "Value", "served_name"]

_RATE_SECONDS: Final = 60.0
_COUNTERS: Final = ("_seconds_total", "_total")


class Value(NamedTuple):
    """A value, and for a rate the seconds it was taken over."""

    value: float
    window: float | None = None


def served_name(series: str) -> str:
    """The custom metric that a series is served as."""
    for suffix in _COUNTERS:
        if series.endswith(suffix):
            return series.removesuffix(suffix)
    return series


@dataclass(slots=True)
class _Sample:
    at: float
    series: dict[str, dict[Labels, float]]


@dataclass(slots=True)
class Samples:
    """The samples of the last minute, and the newest before it; ``at`` in seconds of a clock."""

    _samples: list[_Sample] = field(default_factory=list)

    @property
    def newest(self) -> float:
        """When the newest was taken."""
        return self._samples[-1].at if self._samples else float("-inf")

    def add(self, at: float, series: Iterable[Series]) -> None:
        """Adds a sample, and forgets what no rate needs any more."""
        found: dict[str, dict[Labels, float]] = {}
        for name, labels, value in series:
            found.setdefault(name, {})[labels] = value
        self._samples.append(_Sample(at, found))
        while len(self._samples) > 2 and self._samples[1].at <= at - _RATE_SECONDS:
            del self._samples[0]

    def names(self) -> Iterator[str]:
        """The custom metrics there are."""
        return map(served_name, self._samples[-1].series) if self._samples else iter(())

    def value(self, metric: str, selector: LabelSelector) -> Value | None:
        """The sum over the series of a custom metric that the selector finds."""
        if not self._samples:
            return None
        plain = self._samples[-1].series.get(metric)
        if plain is not None and served_name(metric) == metric:
            values = [v for labels, v in plain.items() if selector.matches(dict(labels))]
            return Value(sum(filter(isfinite, values))) if values else None
        for suffix in _COUNTERS:
            rate = self._rate(metric + suffix, selector)
            if rate is not None:
                return rate
        return None

    def _rate(self, series: str, selector: LabelSelector) -> Value | None:
        """The increase a second; a counter that went down began anew."""
        present = [sample for sample in self._samples if series in sample.series]
        if len(present) < 2:
            return None
        increase, seen = 0.0, False
        for earlier, later in pairwise(present):
            for labels, value in later.series[series].items():
                before = earlier.series[series].get(labels)
                if before is None or not selector.matches(dict(labels)):
                    continue
                seen = True
                increase += value if value < before else value - before
        window = present[-1].at - present[0].at
        return Value(increase / window, window) if seen and window > 0 else None
