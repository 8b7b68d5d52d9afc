"""No point twice: a batch of k is k different points, and a space of n points ends after n."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Final

from kubeling.tuning.algorithms.base import Algorithm, Exhausted, PastTrial, Proposal, Search
from kubeling.tuning.space import Assignments, Dimension

__all__ = ["Distinct", "Taken", "combinations", "nth"]

_DRAWS: Final = 32

Key = tuple[str | None, ...]


def combinations(space: Sequence[Dimension]) -> int | None:
    """How many points there are; ``None`` where a parameter is continuous."""
    counts = [dimension.count for dimension in space]
    return math.prod(count for count in counts if count is not None) if None not in counts else None


def nth(space: Sequence[Dimension], index: int) -> Assignments:
    """A point by its number, the last parameter changing fastest."""
    digits: list[tuple[str, str]] = []
    for dimension in reversed(space):
        index, digit = divmod(index, dimension.count or 1)
        digits.append((dimension.name, dimension.nth(digit)))
    return dict(reversed(digits))


class Taken:
    """The points of a history; looked at again only where it has changed."""

    def __init__(self, space: Sequence[Dimension]) -> None:
        self._names = [dimension.name for dimension in space]
        self._held: list[Assignments] = []
        self._keys: set[Key] = set()

    def of(self, history: Sequence[PastTrial]) -> set[Key]:
        """The keys of all its points."""
        held = self._held
        if len(history) < len(held) or any(
            past.assignments is not known and past.assignments != known
            for past, known in zip(history, held, strict=False)
        ):
            held.clear()
            self._keys = set()
        for past in history[len(held) :]:
            held.append(past.assignments)
            self._keys.add(self.key(past.assignments))
        return self._keys

    def key(self, assignments: Assignments) -> Key:
        """What makes two points the same."""
        return tuple([assignments.get(name) for name in self._names])


class Distinct:
    """An algorithm whose repetitions are replaced by points that were not proposed yet."""

    def __init__(self, algorithm: Algorithm, search: Search) -> None:
        self._algorithm = algorithm
        self._search = search
        self._size = combinations(search.space)
        self._taken = Taken(search.space)

    def propose(self, history: Sequence[PastTrial]) -> Proposal:
        """The algorithm's point if it is new, else another."""
        taken = self._taken.of(history)
        if self._size is not None and len(taken) >= self._size:
            raise Exhausted
        proposal = self._algorithm.propose(history)
        if self._taken.key(proposal.assignments) not in taken:
            return proposal
        return Proposal(self._other(taken, len(history)), proposal.labels)

    def _other(self, taken: set[Key], index: int) -> Assignments:
        source = Random(f"{self._search.seed}/{index}/another")
        for _ in range(_DRAWS):
            drawn = {d.name: d.at(source.random()) for d in self._search.space}
            if self._taken.key(drawn) not in taken:
                return drawn
        if self._size is None:
            # Continuous, and yet there is next to nothing between its bounds.
            raise Exhausted
        start = source.randrange(self._size)
        for step in range(self._size):
            point = nth(self._search.space, (start + step) % self._size)
            if self._taken.key(point) not in taken:
                return point
        raise Exhausted
