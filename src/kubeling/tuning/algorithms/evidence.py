"""From a history to what a model sees."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kubeling.tuning.algorithms.base import PastTrial, Search, TrialState, numbers
from kubeling.tuning.algorithms.cube import Cube, Matrix, Vector

__all__ = ["History", "Known", "generator"]


def generator(seed: str, index: int, use: str = "") -> np.random.Generator:
    """The random numbers of one ask, which depend on the seed and on how many there were."""
    digest = hashlib.sha256(f"{seed}/{index}/{use}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


@dataclass(frozen=True, slots=True)
class Known:
    """A history as matrices: points that ended, with their objectives (less is better) and the
    violations of constraints; points under way; and how many measured something.
    """

    points: Matrix
    values: Matrix
    violations: Matrix
    pending: Matrix
    measured: int


@dataclass(frozen=True, slots=True)
class _Row:
    """One trial; ``values`` is empty where it measured nothing."""

    past: PastTrial
    point: Vector
    values: tuple[float, ...]


class History:
    """Reads histories; trials that have not changed are read once."""

    def __init__(self, search: Search, cube: Cube) -> None:
        self._search, self._cube = search, cube
        self._width = len(search.signs)
        self._rows: list[_Row] = []

    def read(self, history: Sequence[PastTrial]) -> Known:
        """What is known.

        A trial that failed is worse than the worst in everything; where none has succeeded there
        is nothing to be worse than.
        """
        del self._rows[len(history) :]
        for place, past in enumerate(history):
            if place == len(self._rows):
                self._rows.append(self._row(past))
            elif self._rows[place].past is not past:
                self._rows[place] = self._row(past)
        ended = [row for row in self._rows if row.past.state is not TrialState.RUNNING]
        pending = [row.point for row in self._rows if row.past.state is TrialState.RUNNING]
        unknown = (math.nan,) * self._width
        broad = max((len(row.past.violations) for row in ended), default=0)
        lost = (math.nan,) * broad
        values = [row.values or unknown for row in ended]
        violations = [
            row.past.violations if row.values and len(row.past.violations) == broad else lost
            for row in ended
        ]
        return Known(
            _matrix([row.point for row in ended], self._cube.size),
            _penalised(_matrix(values, self._width)),
            _penalised(_matrix(violations, broad)),
            _matrix(pending, self._cube.size),
            sum(1 for row in ended if row.values),
        )

    def _row(self, past: PastTrial) -> _Row:
        found = numbers(self._search, past) or ()
        whole = len(found) == self._width and all(map(math.isfinite, found))
        return _Row(past, self._cube.point(past.assignments), found if whole else ())


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
