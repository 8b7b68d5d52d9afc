"""Learning curves: what a trial reported of its objective, in order."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from kubeling.tuning.metrics import Reading, number

__all__ = ["Curve", "best", "curve"]


@dataclass(frozen=True)
class Curve:
    """The objective's reports of one trial; the n-th is its n-th step.

    ``complete`` says that the trial succeeded, so that no more will come.
    """

    values: tuple[float, ...]
    complete: bool = False

    def best(self, step: int, minimize: bool) -> float:
        """The best of the first so many reports, of which there is one at least."""
        return (self._lowest if minimize else self._highest)[step - 1]

    @cached_property
    def _lowest(self) -> tuple[float, ...]:
        return tuple(accumulate(self.values, min))

    @cached_property
    def _highest(self) -> tuple[float, ...]:
        return tuple(accumulate(self.values, max))


def curve(readings: Iterable[Reading], metric: str, *, complete: bool = False) -> Curve:
    """The curve of one metric; what is not a number has no place in it."""
    values = (number(reading.value) for reading in readings if reading.name == metric)
    found = tuple(value for value in values if value is not None and not math.isnan(value))
    return Curve(found, complete)


def best(values: Iterable[float], minimize: bool) -> float:
    """The best of some values, of which there is one at least."""
    return min(values) if minimize else max(values)
