"""From a history to what a model sees."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from kubeling.tuning.algorithms.base import PastTrial, Search, TrialState, numbers
from kubeling.tuning.algorithms.cube import Cube, Matrix, Vector

__all__ = ["History", "generator"]


def generator(seed: str, index: int, use: str = "") -> np.random.Generator:
    """The random numbers of one ask, which depend on the seed and on how many there were."""
    digest = hashlib.sha256(f"{seed}/{index}/{use}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


class History:
    """The points of a history, each placed in the cube once."""

    def __init__(self, search: Search, cube: Cube) -> None:
        self._search, self._cube = search, cube
        self._points: dict[tuple[str, ...], Vector] = {}

    def read(self, past: Sequence[PastTrial]) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        """Points that ended, their objectives (less is better), their violations, and pending.

        A trial that failed is worse than the worst in everything; where none has succeeded there
        is nothing to be worse than.
        """
        width = len(self._search.signs)
        ended: list[Vector] = []
        values: list[tuple[float, ...]] = []
        violations: list[tuple[float, ...]] = []
        pending: list[Vector] = []
        broad = max((len(p.violations) for p in past), default=0)
        for trial in past:
            point = self._point(trial)
            if trial.state is TrialState.RUNNING:
                pending.append(point)
                continue
            found = numbers(self._search, trial)
            complete = found is not None and len(found) == width and all(map(math.isfinite, found))
            ended.append(point)
            values.append(found if found is not None and complete else (math.nan,) * width)
            whole = complete and len(trial.violations) == broad
            violations.append(trial.violations if whole else (math.nan,) * broad)
        return (
            _matrix(ended, self._cube.size),
            _penalised(_matrix(values, width)),
            _penalised(_matrix(violations, broad)),
            _matrix(pending, self._cube.size),
        )

    def _point(self, trial: PastTrial) -> Vector:
        key = tuple(trial.assignments.get(d.name, "") for d in self._cube.space)
        if key not in self._points:
            self._points[key] = self._cube.point(trial.assignments)
        return self._points[key]


def _matrix(rows: Sequence[Sequence[float] | Vector], width: int) -> Matrix:
    return np.array(rows, dtype=float).reshape(len(rows), width)


def _penalised(values: Matrix) -> Matrix:
    """Unknown values replaced by what is worse than the worst known one, all if none is known."""
    filled = values.copy()
    for column in filled.T:
        known = column[~np.isnan(column)]
        if len(known):
            # Somewhat worse than the worst: by half of what separates it from the median.
            worst = float(known.max())
            beyond = 0.5 * (worst - float(np.median(known))) or 0.1 * (abs(worst) or 1.0)
            column[np.isnan(column)] = worst + beyond
    return filled
