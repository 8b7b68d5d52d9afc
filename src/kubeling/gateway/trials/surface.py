"""What the objective is like between trials, over two parameters. Pure.

An estimate from the trials near a place, weighed by distance, and of no more detail than there are
trials: a picture to look at, no model to predict from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

__all__ = ["bands", "surface"]

_MOST: Final = 400

Point = tuple[float, float, float]
"""Two places between 0 and 1, and a value."""


def surface(points: Sequence[Point], columns: int, rows: int) -> list[list[float]]:
    """Rows of estimates from the bottom up; empty with fewer than three points."""
    if len(points) < 3:
        return []
    kept = points[-_MOST:]
    # The more trials, the nearer ones count.
    reach = 2 * max(0.06, 0.35 / math.sqrt(len(kept))) ** 2
    return [
        [_at((x + 0.5) / columns, (y + 0.5) / rows, kept, reach) for x in range(columns)]
        for y in range(rows)
    ]


def _at(x: float, y: float, points: Sequence[Point], reach: float) -> float:
    total = weight = 0.0
    nearest, closest = 0.0, math.inf
    for px, py, value in points:
        distance = (px - x) ** 2 + (py - y) ** 2
        if distance < closest:
            closest, nearest = distance, value
        part = math.exp(-distance / reach)
        total += part * value
        weight += part
    return total / weight if weight > 1e-12 else nearest


def bands(grid: Sequence[Sequence[float]], count: int, *, less_is_better: bool) -> list[list[int]]:
    """In which of so many bands each estimate lies: equal shares of the area, the last the best."""
    values = sorted(value for row in grid for value in row)
    if not values:
        return []
    edges = [values[len(values) * place // count] for place in range(1, count)]

    def band(value: float) -> int:
        found = sum(value >= edge for edge in edges) if values[0] < values[-1] else 0
        return count - 1 - found if less_is_better else found

    return [[band(value) for value in row] for row in grid]
