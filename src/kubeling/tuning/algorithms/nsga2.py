"""NSGA-II for several objectives, one child at a time.

Deb et al., "A Fast and Elitist Multiobjective Genetic Algorithm" (2002). The population is the best
of all trials so far, by rank and crowding, constraints first; a child has two parents chosen by
tournament. Nothing waits for a generation to end, so any number of trials may run at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Final

from kubeling.tuning.algorithms.base import PastTrial, Proposal, Search, numbers
from kubeling.tuning.algorithms.sobol import sobol_point
from kubeling.tuning.pareto import crowding, ranks
from kubeling.tuning.space import Assignments, Categories, Dimension

__all__ = ["NSGA2Search"]

_POPULATION: Final = "24"
_POWER: Final = 1 / 21
"""Of a distribution index of 20: children lie near their parents."""


class NSGA2Search:
    """A population that moves towards the Pareto front and along it."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._size = int(search.settings.get("population_size") or _POPULATION)
        self._crossover = float(search.settings.get("crossover_prob") or 0.9)
        mutation = search.settings.get("mutation_prob")
        self._mutation = float(mutation) if mutation else 1 / max(len(search.space), 1)

    def propose(self, history: Sequence[PastTrial]) -> Proposal:
        """The next child; the first generation is spread evenly."""
        space, index = self._search.space, len(history)
        parents = self._parents(history)
        if index < self._size or len(parents) < 2:
            point = sobol_point(len(space), index, self._search.seed)
            return Proposal({d.name: d.at(share) for d, share in zip(space, point, strict=True)})
        source = Random(f"{self._search.seed}/{index}")
        mother, father = (self._tournament(parents, source) for _ in range(2))
        return Proposal(self._child(mother, father, source))

    def _parents(self, history: Sequence[PastTrial]) -> list[tuple[tuple[float, float], PastTrial]]:
        """The population with the keys tournaments are decided by, best first."""
        found = [(p, n) for p in history if (n := numbers(self._search, p)) is not None]
        excess = [sum(max(v, 0.0) for v in past.violations) for past, _ in found]
        fronts = ranks([values for _, values in found], excess, self._size)
        rated: list[tuple[tuple[float, float], PastTrial]] = []
        for rank in sorted(set(fronts)):
            front = [place for place, r in enumerate(fronts) if r == rank]
            distances = crowding([found[place][1] for place in front])
            members = sorted(zip(front, distances, strict=True), key=lambda m: (-m[1], m[0]))
            rated += [((rank, -distance), found[place][0]) for place, distance in members]
            if len(rated) >= self._size:
                break
        return rated[: self._size]

    @staticmethod
    def _tournament(
        parents: Sequence[tuple[tuple[float, float], PastTrial]], source: Random
    ) -> PastTrial:
        first, second = source.choice(parents), source.choice(parents)
        return min(first, second, key=lambda parent: parent[0])[1]

    def _child(self, mother: PastTrial, father: PastTrial, source: Random) -> Assignments:
        child: Assignments = {}
        crossed = source.random() < self._crossover
        for dimension in self._search.space:
            a = mother.assignments.get(dimension.name)
            b = father.assignments.get(dimension.name)
            if isinstance(dimension, Categories) and not dimension.ordered:
                value = source.choice((a, b)) if crossed else a
                mutated = source.random() < self._mutation
                child[dimension.name] = (
                    dimension.at(source.random()) if mutated or value is None else value
                )
                continue
            share = _blend(_share(dimension, a), _share(dimension, b), source, crossed)
            if source.random() < self._mutation:
                share = _mutated(share, source)
            child[dimension.name] = dimension.at(min(max(share, 0.0), 1.0))
        return child


def _share(dimension: Dimension, text: str | None) -> float:
    if isinstance(dimension, Categories):
        return dimension.share(text or "")
    try:
        return dimension.share(float(text or "nan"))
    except ValueError:
        return 0.5


def _blend(a: float, b: float, source: Random, crossed: bool) -> float:
    """Simulated binary crossover."""
    if not crossed or source.random() < 0.5:
        return a
    u = source.random()
    spread = math.pow(2 * u, _POWER) if u <= 0.5 else math.pow(2 * (1 - u), -_POWER)
    sign = 1 if source.random() < 0.5 else -1
    return 0.5 * ((1 + sign * spread) * a + (1 - sign * spread) * b)


def _mutated(share: float, source: Random) -> float:
    """Polynomial mutation."""
    u = source.random()
    if u < 0.5:
        return share + math.pow(2 * u, _POWER) - 1
    return share + 1 - math.pow(2 * (1 - u), _POWER)
