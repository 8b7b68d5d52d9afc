"""Grid search: every combination once, in order, without ever listing them.

A combination is a number in a mixed radix system, so the grid may be of any size. What was tried is
read from the history, so points of deleted trials come again and a restart skips none.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubeling.tuning.algorithms.base import Exhausted, PastTrial, Proposal, Search
from kubeling.tuning.algorithms.distinct import combinations, nth
from kubeling.tuning.space import Assignments

__all__ = ["GridSearch"]


class GridSearch:
    """All combinations, the last parameter changing fastest."""

    def __init__(self, search: Search) -> None:
        self._space = search.space
        size = combinations(search.space)
        if size is None:
            raise ValueError("grid search needs a step for every double parameter")
        self._size = size
        self._keys: list[tuple[str | None, ...]] = []
        self._seen: list[Assignments] = []

    def propose(self, history: Sequence[PastTrial]) -> Proposal:
        """The first combination that was not proposed yet."""
        start = self._skip(history)
        tried = {self._key(past.assignments) for past in history[start:]}
        for index in range(start, self._size):
            point = nth(self._space, index)
            if self._key(point) not in tried:
                return Proposal(point)
        raise Exhausted

    def _skip(self, history: Sequence[PastTrial]) -> int:
        """How many combinations at the start were proposed in order, which is the rule."""
        for index, past in enumerate(history):
            if index < len(self._seen) and past.assignments is self._seen[index]:
                continue
            del self._seen[index:]
            if index >= self._size or self._key(past.assignments) != self._expected(index):
                return index
            self._seen.append(past.assignments)
        return len(history)

    def _expected(self, index: int) -> tuple[str | None, ...]:
        while len(self._keys) <= index:
            self._keys.append(self._key(nth(self._space, len(self._keys))))
        return self._keys[index]

    def _key(self, assignments: Assignments) -> tuple[str | None, ...]:
        return tuple(assignments.get(dimension.name) for dimension in self._space)
