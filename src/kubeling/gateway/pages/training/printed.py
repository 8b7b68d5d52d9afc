"""Metrics that a program prints while it trains, read from the end of its log. Pure.

Training jobs have no field for metrics, and a TrainJob's trainer reports only the last ones. What
most programs print is ``name=value`` or ``name: value``, again and again; a name that comes several
times with numbers is taken for a metric.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from kubeling.gateway.drawing.plane import number

__all__ = ["printed_metrics"]

_PAIR: Final = re.compile(
    r"(?<![\w.])([A-Za-z_][\w./-]{0,40})\s*[=:]\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.:])"
)
_PLACES: Final = frozenset(
    {"epoch", "step", "steps", "iteration", "iter", "batch", "rank", "local_rank", "world_size",
     "line", "port", "pid", "seed", "time", "took", "total", "size"}
)  # fmt: skip
"""Names that say where a program is, not how good."""
_LEAST: Final = 3
_MOST: Final = 6

Points = list[tuple[float, float]]


def printed_metrics(lines: Iterable[str]) -> dict[str, Points]:
    """By name, the values in the order in which they were printed."""
    found: dict[str, Points] = {}
    for line in lines:
        for match in _PAIR.finditer(line):
            name, value = match[1], number(match[2])
            if value is None or name.lower() in _PLACES:
                continue
            points = found.setdefault(name, [])
            points.append((float(len(points) + 1), value))
    often = [(name, points) for name, points in found.items() if len(points) >= _LEAST]
    often.sort(key=lambda entry: -len(entry[1]))
    return dict(often[:_MOST])
