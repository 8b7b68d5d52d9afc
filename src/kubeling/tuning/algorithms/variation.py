"""Points to try where a model sees nothing left to find: the best ones, a few coordinates anew.

A process that has found the bottom of one valley is sure of it. What it still thinks uncertain
are the corners of the space, which it believes to be bad as well; a category that only pays with
another rate than the best point's it has written off. Both are better doubted as evolution does:
keep most of what was good, draw the rest from the user's distribution.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from kubeling.tuning.algorithms.cube import Cube, Matrix, Vector

__all__ = ["varied"]

_RIVALS: Final = 16
_FEWEST_PARENTS: Final = 3
_FAVOUR: Final = 0.3
"""How likely the best of the parents is to be one; the next is, among the others."""
_MOST_DRAWN: Final = 3.0


def varied(cube: Cube, points: Matrix, values: Vector, random: np.random.Generator) -> Matrix:
    """A few points that differ from one of the best tenth in one coordinate or some more."""
    order = np.argsort(values, kind="stable")
    parents = points[order[: max(_FEWEST_PARENTS, len(points) // 10)]]
    ranks = random.geometric(_FAVOUR, size=_RIVALS) - 1
    kept = parents[np.minimum(ranks, len(parents) - 1)]
    share = random.uniform(1.0, _MOST_DRAWN, size=(_RIVALS, 1)) / cube.size
    drawn = random.random(kept.shape) < share
    drawn[np.arange(_RIVALS), random.integers(cube.size, size=_RIVALS)] = True
    return cube.snapped(np.where(drawn, random.random(kept.shape), kept))
