"""Bayesian optimisation of one figure: which point of the cube to try next.

The process is fitted to the trials that have ended. Trials under way are believed to turn out as
it predicts (the kriging believer), which takes the interest out of their neighbourhood, so that a
batch is spread out. Failed trials count as the worst seen, so their neighbourhood is left.

Everything is a function of the trials and the seed. What takes long is fitted to the first trials
only, as many as a schedule says, and so is remembered between asks without deciding anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kubeling.tuning.algorithms.acquisition import Acquisition, log_below
from kubeling.tuning.algorithms.cube import Cube, Matrix, Vector
from kubeling.tuning.algorithms.gaussian import Process, fit, warped
from kubeling.tuning.algorithms.variation import varied

__all__ = ["Choice", "Evidence", "Surrogate"]

_ALWAYS_FITTED: Final = 30
_FIT_GROWTH: Final = 1.1
_MOST_FITTED: Final = 150
_MOST_SEEN: Final = 200
_LONG_HISTORY: Final = 400
_STEPS: Final = 40
_REMEMBERED: Final = 4
_HOPELESS: Final = 2.0
"""So many deviations above the best figure a point is not expected to be an improvement."""

Places = NDArray[np.intp]
Choice = Callable[[float], Acquisition]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known: ``points`` with a value each, in order, and those ``pending``.

    ``limits`` are further figures of the same points that must not exceed 0.
    """

    points: Matrix
    values: Vector
    pending: Matrix
    limits: tuple[Vector, ...] = ()


@dataclass
class Surrogate:
    """Models of one figure and of its constraints."""

    cube: Cube
    refine: bool = True
    doubts: bool = False
    _fits: dict[bytes, Vector] = field(default_factory=dict)
    _processes: dict[bytes, Process] = field(default_factory=dict)

    def best(
        self,
        evidence: Evidence,
        random: np.random.Generator,
        acquire: Choice,
        region: float | None = None,
    ) -> Matrix:
        """Points to try, the most promising first.

        ``acquire`` makes an acquisition of the best figure that the process believes in;
        ``region`` keeps to a box around the best point, of about that width. One that ``doubts``
        and sees nothing promising anywhere gives variations of the best points instead.
        """
        chosen = self._seen(evidence)
        process = self._process(evidence.points, evidence.values, chosen)
        limits = [self._process(evidence.points, limit, chosen) for limit in evidence.limits]
        bounds = [_zero(limit, chosen) for limit in evidence.limits]
        if len(evidence.pending):
            pending = self.cube.features(evidence.pending)
            process = process.with_points(pending, process.predict(pending)[0])
        believed = _believed(process, evidence, chosen)
        worth = _Worth(process, acquire(believed), limits, bounds)
        centres = evidence.points[np.argsort(evidence.values, kind="stable")[:5]]
        many = len(evidence.points) + len(evidence.pending) <= _LONG_HISTORY
        box = self._box(centres[0], process, region)
        candidates = self._candidates(centres, random, 1024 if many else 256, box)
        scores = worth.of(self.cube.features(candidates))
        order = np.argsort(-scores, kind="stable")
        if self.refine:
            starts = candidates[order[: 8 if many else 2]]
            refined = self.cube.snapped(self._climb(starts, worth, box, 30 if many else 10))
            candidates = np.concatenate([candidates, refined])
            scores = np.concatenate([scores, worth.of(self.cube.features(refined))])
            order = np.argsort(-scores, kind="stable")
        if self.doubts and region is None:
            mean, deviation = process.predict(self.cube.features(candidates[order[:1]]))
            if mean[0] - believed > _HOPELESS * deviation[0]:
                candidates = varied(self.cube, evidence.points, evidence.values, random)
                order = np.argsort(-worth.of(self.cube.features(candidates)), kind="stable")
        return np.asarray(candidates[order])

    def _seen(self, evidence: Evidence) -> Places:
        """Which points a process sees: all, or the best and those nearest to the best."""
        count = len(evidence.values)
        if count <= _MOST_SEEN:
            return np.arange(count)
        features = self.cube.features(evidence.points)
        order = np.argsort(evidence.values, kind="stable")
        distance = ((features - features[order[0]]) ** 2).sum(axis=1)
        distance[order[: _MOST_SEEN // 2]] = -1.0
        return np.sort(np.argsort(distance, kind="stable")[:_MOST_SEEN])

    def _process(self, points: Matrix, values: Vector, chosen: Places) -> Process:
        theta = self._theta(points, values)
        key = points.tobytes() + values.tobytes()
        if key not in self._processes:
            _make_room(self._processes)
            features = self.cube.features(points[chosen])
            self._processes[key] = Process(self.cube, features, warped(values[chosen]), theta)
        return self._processes[key]

    def _theta(self, points: Matrix, values: Vector) -> Vector:
        count = _scheduled(len(values))
        key = points[:count].tobytes() + values[:count].tobytes()
        if key not in self._fits:
            _make_room(self._fits)
            features = self.cube.features(points[:count])
            self._fits[key] = fit(self.cube, features, warped(values[:count]), _STEPS)
        return self._fits[key]

    def _box(self, centre: Vector, process: Process, region: float | None) -> tuple[Vector, Vector]:
        """The bounds to keep to: wider where the figure changes slowly."""
        if region is None:
            return np.zeros(self.cube.size), np.ones(self.cube.size)
        scales = process.scales / np.exp(np.log(process.scales).mean())
        half = np.where(self.cube.categorical, 1.0, 0.5 * region * scales)
        return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)

    def _candidates(
        self,
        centres: Matrix,
        random: np.random.Generator,
        count: int,
        box: tuple[Vector, Vector],
    ) -> Matrix:
        """Points from everywhere, and from around the best, a few coordinates moved."""
        size = self.cube.size
        low, high = box
        anywhere = low + (high - low) * random.random((count // 2, size))
        near = centres[random.integers(len(centres), size=count // 2)]
        moved = random.random(near.shape) < np.minimum(1.0, 4 / size)
        moved[np.arange(len(near)), random.integers(size, size=len(near))] = True
        spread = 10.0 ** random.uniform(-2.5, -0.5, size=(len(near), 1))
        shifted = near + spread * random.standard_normal(near.shape)
        # Reflected at the walls, where many optima are.
        shifted = np.abs(shifted)
        shifted = np.clip(1 - np.abs(1 - shifted), 0.0, 1.0)
        fresh = np.where(self.cube.categorical, random.random(near.shape), shifted)
        around = np.clip(np.where(moved, fresh, near), low, high)
        return self.cube.snapped(np.concatenate([anywhere, around]))

    def _climb(
        self, points: Matrix, worth: _Worth, box: tuple[Vector, Vector], steps: int
    ) -> Matrix:
        """Ascends from each point by its own gradient (Adam), categories staying."""
        cube = self.cube
        moving = np.flatnonzero(~cube.categorical)
        if not len(moving):
            return points
        columns = np.array([np.flatnonzero(cube.groups == index)[0] for index in moving])
        best, best_worth = points.copy(), np.full(len(points), -np.inf)
        here = points.copy()
        first, second = np.zeros((2, len(points), len(moving)))
        for step in range(1, steps + 1):
            value, slope = worth.slope(cube.features(here))
            better = value > best_worth
            best[better], best_worth[better] = here[better], value[better]
            along = slope[:, columns]
            first = 0.8 * first + 0.2 * along
            second = 0.95 * second + 0.05 * along * along
            scale = np.sqrt(second / (1 - 0.95**step)) + 1e-12
            rate = 0.05 * 0.9**step + 0.0005
            moved = here[:, moving] + rate * (first / (1 - 0.8**step)) / scale
            here[:, moving] = np.clip(moved, box[0][moving], box[1][moving])
        return best


@dataclass
class _Worth:
    """The acquisition of points, constraints included."""

    process: Process
    acquisition: Acquisition
    limits: Sequence[Process]
    bounds: Sequence[float]

    def of(self, features: Matrix) -> Vector:
        total = self.acquisition(*self.process.predict(features))[0]
        for process, bound in zip(self.limits, self.bounds, strict=True):
            mean, deviation = process.predict(features)
            total = total + log_below((bound - mean) / deviation)[0]
        return total

    def slope(self, features: Matrix) -> tuple[Vector, Matrix]:
        mean, deviation, by_mean, by_deviation = self.process.slopes(features)
        total, over_mean, over_deviation = self.acquisition(mean, deviation)
        slope = over_mean[:, None] * by_mean + over_deviation[:, None] * by_deviation
        for process, bound in zip(self.limits, self.bounds, strict=True):
            mean, deviation, by_mean, by_deviation = process.slopes(features)
            z = (bound - mean) / deviation
            value, steepness = log_below(z)
            total = total + value
            push = -(steepness / deviation)[:, None]
            slope = slope + push * (by_mean + z[:, None] * by_deviation)
        return total, slope


def _make_room(remembered: dict[bytes, Any]) -> None:
    """Forgets the oldest where there are as many as may be."""
    while len(remembered) >= _REMEMBERED:
        remembered.pop(next(iter(remembered)))


def _believed(process: Process, evidence: Evidence, chosen: Places) -> float:
    """The best figure the process believes in, of the points that keep to the limits."""
    means = process.predict(process.features)[0]
    if not evidence.limits:
        return float(means.min())
    lawful = np.all([limit[chosen] <= 0 for limit in evidence.limits], axis=0)
    known = means[: len(chosen)]
    # Where none does, whatever does is an improvement.
    return float(known[lawful].min() if lawful.any() else known.max())


def _scheduled(count: int) -> int:
    """Of how many trials the hyperparameters are fitted to the first."""
    if count <= _ALWAYS_FITTED:
        return count
    fitted = float(_ALWAYS_FITTED)
    while fitted * _FIT_GROWTH <= min(count, _MOST_FITTED):
        fitted *= _FIT_GROWTH
    return int(fitted)


def _zero(values: Vector, chosen: Places) -> float:
    """Where 0 lies on the scale that :func:`warped` puts values on."""
    seen = values[chosen]
    order = np.argsort(seen, kind="stable")
    return float(np.interp(0.0, seen[order], warped(seen)[order]))
