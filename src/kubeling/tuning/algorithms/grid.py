"""Grid search: every combination once, in order, without ever listing them.

A combination is a number in a mixed radix system, so the grid may be of any size. What was tried is
read from the history, so points of deleted trials come again and a restart skips none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from kubeling.tuning.algorithms.base import Exhausted, PastTrial, Search
from kubeling.tuning.space import Assignments, Dimension

__all__ = ["GridSearch", "combinations"]


def combinations(space: Sequence[Dimension]) -> int | None:
    """The size of the grid; ``None`` where a parameter has no steps."""
    counts = [dimension.count for dimension in space]
    return math.prod(count for count in counts if count is not None) if None not in counts else None


class GridSearch:
    """All combinations, the last parameter changing fastest."""

    heavy = False

    def __init__(self, search: Search) -> None:
        self._space = search.space
        size = combinations(search.space)
        if size is None:
            raise ValueError("grid search needs a step for every double parameter")
        self._size = size

    def suggest(self, history: Sequence[PastTrial]) -> Assignments:
        """The first combination that was not proposed yet."""
        tried = {self._key(past.assignments) for past in history}
        for index in itertools.count(self._skip(history)):
            if index >= self._size:
                break
            point = self._nth(index)
            if self._key(point) not in tried:
                return point
        raise Exhausted

    def _skip(self, history: Sequence[PastTrial]) -> int:
        """How many combinations at the start were proposed in order, which is the rule."""
        for index, past in enumerate(history):
            if index >= self._size or self._key(past.assignments) != self._key(self._nth(index)):
                return index
        return len(history)

    def _nth(self, index: int) -> Assignments:
        digits: list[tuple[str, str]] = []
        for dimension in reversed(self._space):
            index, digit = divmod(index, dimension.count or 1)
            digits.append((dimension.name, dimension.nth(digit)))
        return dict(reversed(digits))

    def _key(self, assignments: Assignments) -> tuple[str | None, ...]:
        return tuple(assignments.get(dimension.name) for dimension in self._space)
