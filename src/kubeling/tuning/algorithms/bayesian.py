"""Bayesian optimisation with a Gaussian process: ``auto``, ``gp``, ``bayesianoptimization``.

It begins with a quasi-random design. Several objectives are scalarised anew for every point
(ParEGO: the augmented Chebyshev norm with random weights), so that the points spread along the
Pareto front; constraints multiply the improvement by the probability that they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from kubeling.tuning.algorithms.acquisition import (
    confidence,
    expected_improvement,
    probability,
)
from kubeling.tuning.algorithms.base import PastTrial, Proposal, Search
from kubeling.tuning.algorithms.cube import Cube, Matrix, Vector
from kubeling.tuning.algorithms.distinct import Taken
from kubeling.tuning.algorithms.evidence import History, generator
from kubeling.tuning.algorithms.sobol import sobol_point
from kubeling.tuning.algorithms.surrogate import Choice, Evidence, Surrogate

__all__ = ["GaussianSearch", "SkoptSearch"]

_FEWEST_FIRST: Final = 6
_MOST_FIRST: Final = 12
_NEAR: Final = 0.5
_WIDEST: Final = 0.8
_NARROWEST: Final = 0.5**7
_SUCCESSES: Final = 3
_WORTHWHILE: Final = 0.02
"""What a point far from the best must improve on it, in deviations of all figures: polishing the
best point further is left to the asks that keep near it.
"""
# scikit-optimize's defaults of what an improvement must exceed, and of a bound's width.
_XI: Final = 0.01
_KAPPA: Final = 1.96


class GaussianSearch:
    """Our recommendation: good with few trials, in any space, in batches of any size."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._cube = Cube(search.space)
        self._history = History(search, self._cube)
        self._surrogate = Surrogate(self._cube, doubts=True)
        self._taken = Taken(search.space)
        default = min(max(self._cube.size + 2, _FEWEST_FIRST), _MOST_FIRST)
        self._first = int(search.settings.get("n_initial_points", default))

    def propose(self, history: Sequence[PastTrial]) -> Proposal:
        """The next point."""
        taken = self._taken.of(history)
        for point in self._points(history):
            assignments = self._cube.assignments(point)
            if self._taken.key(assignments) not in taken:
                break
        return Proposal(assignments)

    def _points(self, history: Sequence[PastTrial]) -> Matrix:
        """Points to try, the most promising first."""
        index = len(history)
        known = self._history.read(history)
        if index < self._first or known.measured < min(self._first, 3):
            point = np.array(sobol_point(self._cube.size, index, self._search.seed))
            return self._cube.snapped(point[None, :])
        random = generator(self._search.seed, index)
        figure = _scalarised(known.values, random)
        evidence = Evidence(known.points, figure, known.pending, tuple(known.violations.T))
        # Along a front there is no one best point to stay near; and a rough figure has best
        # points that are only lucky, so that every other ask looks everywhere.
        single = known.values.shape[1] == 1
        near = single and random.random() < _NEAR
        region = trust_region(figure, self._cube.size, self._first) if near else None
        margin = _WORTHWHILE if single and not near else 0.0
        return self._surrogate.best(evidence, random, self._acquisition(random, margin), region)

    def _acquisition(self, random: np.random.Generator, margin: float) -> Choice:
        return lambda best: expected_improvement(best - margin)


class SkoptSearch(GaussianSearch):
    """The same under the names and settings of scikit-optimize, which upstream uses."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._first = int(search.settings.get("n_initial_points", 10))
        self._surrogate.doubts = False
        self._surrogate.refine = search.settings.get("acq_optimizer") != "sampling"

    def _acquisition(self, random: np.random.Generator, margin: float) -> Choice:
        name = self._search.settings.get("acq_func", "gp_hedge")
        if name == "gp_hedge":
            name = str(random.choice(["EI", "LCB", "PI"]))
        match name:
            case "LCB":
                return lambda _: confidence(_KAPPA)
            case "PI":
                return lambda best: probability(best - _XI)
            case _:
                return lambda best: expected_improvement(best - _XI)


def trust_region(values: Vector, size: int, first: int) -> float:
    """How wide a box around the best point to keep to: it grows with success (TuRBO).

    Eriksson et al., "Scalable Global Optimization via Local Bayesian Optimization" (2019), with
    successes and failures counted in the order of the trials.
    """
    width, successes, failures = _WIDEST, 0, 0
    best = float(values[:first].min())
    for value in map(float, values[first:]):
        better = value < best - 1e-3 * abs(best)
        successes, failures = (successes + 1, 0) if better else (0, failures + 1)
        best = min(best, value)
        if successes == _SUCCESSES:
            width, successes = min(2 * width, 2 * _WIDEST), 0
        elif failures == max(4, size):
            width, failures = width / 2, 0
            if width < _NARROWEST:
                width = _WIDEST
    return width


def _scalarised(values: Matrix, random: np.random.Generator) -> Vector:
    if values.shape[1] == 1:
        return np.asarray(values[:, 0])
    low, high = values.min(axis=0), values.max(axis=0)
    scaled = (values - low) / np.where(high > low, high - low, 1.0)
    weights = random.dirichlet(np.ones(values.shape[1]))
    return np.asarray((weights * scaled).max(axis=1) + 0.05 * (weights * scaled).sum(axis=1))
