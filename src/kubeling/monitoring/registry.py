"""Metrics in the text form that Prometheus scrapes.

A registry holds series by metric name and labels; components set them, or give a function that is
asked at every scrape. The platform serves its registry at ``/metrics``. Ruled out: Prometheus'
client library, whose metrics are module-level objects with names known beforehand, while workflows
name theirs at run time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = ["CONTENT_TYPE", "DEFAULT_BUCKETS", "Kind", "MetricConflict", "Registry"]

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[tuple[str, str], ...]
Collected = Iterable[tuple[Mapping[str, str], float]]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
DEFAULT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class MetricConflict(ValueError):
    """A metric of that name is something else already."""


@dataclass(slots=True)
class _Histogram:
    buckets: tuple[float, ...]
    counts: list[int]
    total: float = 0.0


@dataclass(slots=True)
class _Metric:
    help: str
    kind: Kind
    values: dict[Labels, float | Callable[[], float]] = field(default_factory=dict)
    histograms: dict[Labels, _Histogram] = field(default_factory=dict)
    collect: Callable[[], Collected] | None = None


class Registry:
    """Metrics by name."""

    def __init__(self) -> None:
        self._metrics: dict[str, _Metric] = {}

    def declare(self, name: str, help_: str, kind: Kind) -> None:
        """Makes a metric, or raises :class:`MetricConflict` if the name means another one."""
        known = self._metrics.get(name)
        if known is None:
            self._metrics[name] = _Metric(help_, kind)
        elif known.help != help_:
            raise MetricConflict(
                f"help for metric {name} is already set to {known.help}, it cannot be changed"
            )
        elif known.kind != kind:
            raise MetricConflict(
                f"found existing {known.kind} for custom metric {name} of type {kind}"
            )

    def collect(self, name: str, help_: str, kind: Kind, read: Callable[[], Collected]) -> None:
        """A metric whose series are asked for at every scrape."""
        self._metrics[name] = _Metric(help_, kind, collect=read)

    def set(self, name: str, labels: Mapping[str, str], value: float | Callable[[], float]) -> None:
        """Sets a series, to a number or to what a function will say."""
        self._metrics[name].values[_key(labels)] = value

    def add(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """Adds to a series."""
        values, key = self._metrics[name].values, _key(labels)
        before = values.get(key, 0.0)
        values[key] = (0.0 if callable(before) else before) + value

    def observe(
        self,
        name: str,
        labels: Mapping[str, str],
        value: float,
        buckets: Sequence[float] = DEFAULT_BUCKETS,
    ) -> None:
        """Counts a value in a histogram; the first one decides on the buckets."""
        histograms, key = self._metrics[name].histograms, _key(labels)
        found = histograms.get(key)
        if found is None:
            bounds = tuple(sorted(buckets))
            found = histograms[key] = _Histogram(bounds, [0] * (len(bounds) + 1))
        found.counts[bisect_left(found.buckets, value)] += 1
        found.total += value

    def remove(self, name: str, labels: Mapping[str, str]) -> None:
        """Forgets a series."""
        if (metric := self._metrics.get(name)) is not None:
            metric.values.pop(_key(labels), None)

    def forget(self, name: str, labels: Mapping[str, str]) -> None:
        """Forgets every series of a metric that has these labels, whatever others it has."""
        if (metric := self._metrics.get(name)) is not None:
            wanted = labels.items()
            for key in [key for key in metric.values if wanted <= dict(key).items()]:
                del metric.values[key]
            for key in [key for key in metric.histograms if wanted <= dict(key).items()]:
                del metric.histograms[key]

    def render(self) -> str:
        """All metrics, as a scrape gets them."""
        lines: list[str] = []
        for name, metric in sorted(self._metrics.items()):
            lines.append(f"# HELP {name} {_escaped(metric.help)}")
            lines.append(f"# TYPE {name} {metric.kind}")
            collected = metric.collect() if metric.collect is not None else ()
            lines += [f"{name}{_shown(_key(labels))} {value:g}" for labels, value in collected]
            for key, value in metric.values.items():
                number = value() if callable(value) else value
                lines.append(f"{name}{_shown(key)} {_number(number)}")
            for key, histogram in metric.histograms.items():
                lines += _histogram_lines(name, key, histogram)
        return "\n".join(lines) + "\n"


def _histogram_lines(name: str, key: Labels, histogram: _Histogram) -> list[str]:
    lines: list[str] = []
    count = 0
    bounds = [_number(bound) for bound in histogram.buckets]
    for bound, more in zip([*bounds, "+Inf"], histogram.counts, strict=True):
        count += more
        lines.append(f"{name}_bucket{_shown((*key, ('le', bound)))} {count}")
    lines.append(f"{name}_sum{_shown(key)} {_number(histogram.total)}")
    lines.append(f"{name}_count{_shown(key)} {count}")
    return lines


def _key(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _shown(key: Labels) -> str:
    pairs = ",".join(f'{name}="{_quoted(value)}"' for name, value in key)
    return f"{{{pairs}}}" if pairs else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")
