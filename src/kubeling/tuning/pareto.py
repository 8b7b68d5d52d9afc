"""Several objectives: who dominates whom. Less is better in every figure here."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["crowding", "dominates", "front", "ranks"]

Figures = Sequence[float]


def dominates(one: Figures, other: Figures) -> bool:
    """Whether one is as good in everything and better in something."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(
        a < b for a, b in zip(one, other, strict=True)
    )


def front(points: Sequence[Figures]) -> list[int]:
    """The places of the points that none dominates.

    In lexicographic order only those before a point can dominate it, and the nearest most likely.
    """
    found: list[int] = []
    for place in sorted(range(len(points)), key=lambda place: tuple(points[place])):
        if not any(dominates(points[other], points[place]) for other in reversed(found)):
            found.append(place)
    return sorted(found)


def ranks(
    points: Sequence[Figures], excess: Sequence[float] = (), enough: int | None = None
) -> list[int]:
    """Each point's front, 0 the best; those that break constraints come after, by how much.

    Where ``enough`` points have a rank, all the others share the next one.
    """
    amounts = excess or [0.0] * len(points)
    if points and len(points[0]) == 1 and not any(amount > 0 for amount in amounts):
        places = {value: rank for rank, value in enumerate(sorted({p[0] for p in points}))}
        return [places[point[0]] for point in points]
    found = [-1] * len(points)
    left = [place for place, amount in enumerate(amounts) if amount <= 0]
    rank = given = 0
    while left and (enough is None or given < enough):
        best = {left[place] for place in front([points[place] for place in left])}
        for place in best:
            found[place] = rank
        left = [place for place in left if place not in best]
        given, rank = given + len(best), rank + 1
    order = {amount: step for step, amount in enumerate(sorted(set(amounts)), start=rank)}
    return [given if given >= 0 else order[amounts[place]] for place, given in enumerate(found)]


def crowding(points: Sequence[Figures]) -> list[float]:
    """How far apart from its neighbours each point of a front lies; the ends are infinitely."""
    distances = [0.0] * len(points)
    for axis in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda place: points[place][axis])
        low, high = points[order[0]][axis], points[order[-1]][axis]
        distances[order[0]] = distances[order[-1]] = math.inf
        if high == low:
            continue
        for before, place, after in zip(order, order[1:], order[2:], strict=False):
            distances[place] += (points[after][axis] - points[before][axis]) / (high - low)
    return distances
