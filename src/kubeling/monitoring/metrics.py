"""Counters and histograms of this process, in Prometheus' text format.

The gateway answers with them at ``/metrics``. They cost nothing until something is counted, and no
library is needed for two kinds of numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

__all__ = ["CONTENT_TYPE", "Counter", "Histogram", "exposition"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Metric:
    kind = ""

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        _METRICS[name] = self

    def lines(self) -> Iterator[str]:
        raise NotImplementedError

    def _labelled(self, values: Sequence[str], more: str = "") -> str:
        pairs = [f'{n}="{_escaped(v)}"' for n, v in zip(self.labels, values, strict=True)]
        if more:
            pairs.append(more)
        return f"{{{','.join(pairs)}}}" if pairs else ""


_METRICS: Final[dict[str, _Metric]] = {}


class Counter(_Metric):
    """How often something happened."""

    kind = "counter"

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, text, labels)
        self._values: dict[tuple[str, ...], float] = {}

    def add(self, *labels: str, amount: float = 1) -> None:
        self._values[labels] = self._values.get(labels, 0) + amount

    def lines(self) -> Iterator[str]:
        for values, amount in sorted(self._values.items()):
            yield f"{self.name}{self._labelled(values)} {amount:g}"


class Histogram(_Metric):
    """How long something took."""

    kind = "histogram"

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, text, labels)
        self._values: dict[tuple[str, ...], tuple[list[int], float]] = {}

    def observe(self, seconds: float, *labels: str) -> None:
        counts, total = self._values.get(labels) or ([0] * (len(_BUCKETS) + 1), 0.0)
        counts[bisect_left(_BUCKETS, seconds)] += 1
        self._values[labels] = counts, total + seconds

    def lines(self) -> Iterator[str]:
        for values, (counts, total) in sorted(self._values.items()):
            seen = 0
            for bound, count in zip((*_BUCKETS, float("inf")), counts, strict=True):
                seen += count
                limit = "+Inf" if bound == float("inf") else f"{bound:g}"
                le = f'le="{limit}"'
                yield f"{self.name}_bucket{self._labelled(values, le)} {seen}"
            yield f"{self.name}_sum{self._labelled(values)} {total:g}"
            yield f"{self.name}_count{self._labelled(values)} {seen}"


def exposition() -> str:
    """Everything that was counted."""
    lines = []
    for name, metric in sorted(_METRICS.items()):
        if found := list(metric.lines()):
            lines += [f"# HELP {name} {metric.text}", f"# TYPE {name} {metric.kind}", *found]
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
