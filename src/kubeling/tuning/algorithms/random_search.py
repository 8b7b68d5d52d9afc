"""Random search. The n-th point depends on the seed and on n alone, so nothing is remembered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from kubeling.tuning.algorithms.base import PastTrial, Search
from kubeling.tuning.space import Assignments, Categories, Dimension, Interval

__all__ = ["RandomSearch"]

_DEVIATIONS = 6.0


class RandomSearch:
    """Independent draws from every parameter's distribution."""

    heavy = False

    def __init__(self, search: Search) -> None:
        self._search = search

    def suggest(self, history: Sequence[PastTrial]) -> Assignments:
        """The next point; Mersenne Twister seeded with text is the same on every platform."""
        source = Random(f"{self._search.seed}/{len(history)}")
        return {dimension.name: draw(source, dimension) for dimension in self._search.space}


def draw(source: Random, dimension: Dimension) -> str:
    """One value of a parameter."""
    if isinstance(dimension, Categories):
        return source.choice(dimension.values)
    if dimension.distribution == "uniform" and dimension.count is not None:
        return dimension.nth(source.randrange(dimension.count))
    return dimension.nearest(_number(source, dimension))


def _number(source: Random, interval: Interval) -> float:
    low, high = float(interval.low), float(interval.high)
    if interval.logarithmic:
        return math.exp(_between(source, math.log(low), math.log(high), interval))
    return _between(source, low, high, interval)


def _between(source: Random, low: float, high: float, interval: Interval) -> float:
    if interval.distribution in ("uniform", "logUniform") or low == high:
        return source.uniform(low, high)
    # Normal, centred, with the bounds three deviations out; the few beyond are drawn again.
    while True:
        value = source.gauss((low + high) / 2, (high - low) / _DEVIATIONS)
        if low <= value <= high:
            return value
