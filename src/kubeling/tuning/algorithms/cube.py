"""The search space as the unit cube.

A coordinate is a share of the parameter's distribution, so that whatever is uniform in the cube
follows the distribution the user asked for. What a model sees are features: one column for a
number, one for each value of a category, so that categories are equally far from each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kubeling.tuning.space import Assignments, Categories, Dimension

__all__ = ["Cube", "Matrix", "Vector"]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

_ONE_HOT: Final = 0.5**0.5
"""Two categories are then at distance 1."""

_LONGEST_TABLE: Final = 256


class Cube:
    """Points in the cube, written as assignments and seen as features."""

    def __init__(self, space: Sequence[Dimension]) -> None:
        self.space = tuple(space)
        self.size = len(self.space)
        self.categorical = np.array(
            [isinstance(d, Categories) and not d.ordered for d in self.space], dtype=bool
        )
        self._counts = [d.count for d in self.space]
        groups: list[int] = []
        for index, dimension in enumerate(self.space):
            width = dimension.count if self.categorical[index] else 1
            groups += [index] * (width or 1)
        self.groups = np.array(groups)
        self._tables: dict[int, Vector] = {}
        self._columns = [np.flatnonzero(self.groups == index) for index in range(self.size)]

    def point(self, assignments: Assignments) -> Vector:
        """Where an assignment lies."""
        return np.array([_share(d, assignments.get(d.name)) for d in self.space])

    def assignments(self, point: Vector) -> Assignments:
        """The assignment nearest to a point."""
        return {d.name: d.at(float(u)) for d, u in zip(self.space, point, strict=True)}

    def snapped(self, points: Matrix) -> Matrix:
        """The points moved to where the nearest assignments lie."""
        moved = points.copy()
        for index, count in enumerate(self._counts):
            if count is None:
                continue
            dimension = self.space[index]
            if isinstance(dimension, Categories) or dimension.distribution == "uniform":
                step = np.minimum(np.floor(points[:, index] * count), count - 1)
                moved[:, index] = (step + 0.5) / count
            elif count <= _LONGEST_TABLE:
                places = self._table(index)
                nearest = np.abs(points[:, index, None] - places).argmin(axis=1)
                moved[:, index] = places[nearest]
        return moved

    def features(self, points: Matrix) -> Matrix:
        """What a model sees of (snapped) points."""
        out = np.empty((len(points), len(self.groups)))
        for index, columns in enumerate(self._columns):
            if self.categorical[index]:
                count = len(columns)
                chosen = np.minimum((points[:, index] * count).astype(int), count - 1)
                out[:, columns] = _ONE_HOT * (chosen[:, None] == np.arange(count))
            else:
                out[:, columns[0]] = points[:, index]
        return out

    def distances(self, features: Matrix) -> Matrix:
        """Squared distances between all points, one matrix per dimension."""
        out = np.empty((self.size, len(features), len(features)))
        for index, columns in enumerate(self._columns):
            block = features[:, columns]
            out[index] = ((block[:, None, :] - block[None, :, :]) ** 2).sum(axis=2)
        return out

    def _table(self, index: int) -> Vector:
        if index not in self._tables:
            dimension: Any = self.space[index]
            values = (float(dimension.nth(step)) for step in range(dimension.count))
            self._tables[index] = np.array([dimension.share(value) for value in values])
        return self._tables[index]


def _share(dimension: Dimension, text: str | None) -> float:
    if text is None:
        return 0.5
    if isinstance(dimension, Categories):
        return dimension.share(text)
    try:
        return dimension.share(float(text))
    except ValueError:
        return 0.5
