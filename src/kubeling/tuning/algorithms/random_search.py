"""Random search. The n-th point depends on the seed and on n alone, so nothing is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from kubeling.tuning.algorithms.base import PastTrial, Proposal, Search
from kubeling.tuning.space import Dimension

__all__ = ["RandomSearch", "draw"]


class RandomSearch:
    """Independent draws from every parameter's distribution."""

    def __init__(self, search: Search) -> None:
        self._search = search

    def propose(self, history: Sequence[PastTrial]) -> Proposal:
        """The next point; Mersenne Twister seeded with text is the same on every platform."""
        source = Random(f"{self._search.seed}/{len(history)}")
        return Proposal({d.name: draw(source, d) for d in self._search.space})


def draw(source: Random, dimension: Dimension) -> str:
    """One value of a parameter."""
    return dimension.at(source.random())
