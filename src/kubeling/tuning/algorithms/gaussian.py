"""A Gaussian process in numpy: Matérn 5/2, one length scale per dimension, and noise.

The variance is integrated out, the rest is fitted by L-BFGS with exact gradients under the prior
of Hvarfner et al., "Vanilla Bayesian Optimization Performs Great in High Dimensions" (2024), whose
length scales grow with the number of dimensions. It is what scikit-learn's or GPyTorch's would be
without a hundred megabytes or more of either. The prior's spread is narrower than theirs: with a
dozen points in ten dimensions a wide one finds all but two of them irrelevant.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from kubeling.tuning.algorithms.cube import Cube, Matrix, Vector

__all__ = ["Process", "fit", "warped"]

_ROOT5: Final = 5.0**0.5
_PRIOR_SPREAD: Final = 0.8
_NOISE_CENTRE: Final = -8.0
_NOISE_SPREAD: Final = 3.0
_BOUNDS: Final = (np.log(0.02), np.log(200.0))
_NOISE_BOUNDS: Final = (np.log(1e-6), np.log(2.0))
_JITTER: Final = 1e-8
_MEMORY: Final = 8

Objective = Callable[[Vector], tuple[float, Vector]]


def warped(values: Vector) -> Vector:
    """Standardised values, made as normal as a Yeo-Johnson transformation can.

    Losses often span orders of magnitude; the process should see differences among the good.
    """
    spread = values.std()
    if len(values) < 3 or spread == 0 or not np.isfinite(spread):
        return np.asarray(np.zeros_like(values) if spread == 0 else _standard(values))
    centred = (values - np.median(values)) / (_quartiles(values) or spread)
    best, score = centred, -np.inf
    for power in np.linspace(-2.0, 2.0, 17):
        moved, slope = _yeo_johnson(centred, power)
        deviation = moved.std()
        if not np.isfinite(deviation) or deviation <= 0:
            continue
        likelihood = slope - len(values) * np.log(deviation)
        if likelihood > score:
            best, score = moved, likelihood
    return _standard(best)


def _quartiles(values: Vector) -> float:
    low, high = np.quantile(values, (0.25, 0.75))
    return float(high - low)


def _standard(values: Vector) -> Vector:
    return np.asarray((values - values.mean()) / (values.std() or 1.0))


def _yeo_johnson(values: Vector, power: float) -> tuple[Vector, float]:
    """The transformed values, and the logarithm of the transformation's slope, summed."""
    size = np.log1p(np.abs(values))
    above = values >= 0
    up = size if power == 0 else np.expm1(power * size) / power
    down = size if power == 2 else np.expm1((2 - power) * size) / (2 - power)
    slope = float((np.where(above, power - 1, 1 - power) * size).sum())
    return np.where(above, up, -down), slope


class Process:
    """A process that has seen some points; ``values`` are standardised."""

    def __init__(self, cube: Cube, features: Matrix, values: Vector, theta: Vector) -> None:
        self.scales = np.exp(theta[:-1])
        self._scales = self.scales[cube.groups]
        self._noise = float(np.exp(theta[-1])) + _JITTER
        self.features, self.values = features, values
        self._scaled = features / self._scales
        root = np.linalg.cholesky(self._correlation(self._scaled))
        self._inverse_root = _inverse_of_lower(root)
        half = self._inverse_root @ values
        self._weights = self._inverse_root.T @ half
        self.variance = max(float(half @ half) / max(len(values), 1), 1e-12)

    def with_points(self, features: Matrix, values: Vector) -> Process:
        """The process having seen more; what it is like stays."""
        seen = copy.copy(self)
        fresh = features / self._scales
        beside = self._inverse_root @ _matern(_squares(self._scaled, fresh))
        corner = _inverse_of_lower(np.linalg.cholesky(self._correlation(fresh) - beside.T @ beside))
        count, more = len(self.values), len(values)
        root = np.zeros((count + more, count + more))
        root[:count, :count] = self._inverse_root
        root[count:, :count] = -corner @ beside.T @ self._inverse_root
        root[count:, count:] = corner
        seen.features = np.concatenate([self.features, features])
        seen.values = np.concatenate([self.values, values])
        seen._scaled = np.concatenate([self._scaled, fresh])
        seen._inverse_root = root
        seen._weights = root.T @ (root @ seen.values)
        return seen

    def _correlation(self, scaled: Matrix) -> Matrix:
        correlation = _matern(_squares(scaled, scaled))
        correlation[np.diag_indices_from(correlation)] += self._noise
        return correlation

    def predict(self, features: Matrix) -> tuple[Vector, Vector]:
        """Means and standard deviations."""
        cross = _matern(_squares(features / self._scales, self._scaled))
        mean = cross @ self._weights
        seen = cross @ self._inverse_root.T
        rest = np.maximum(1.0 - (seen * seen).sum(axis=1), 1e-12)
        return mean, np.sqrt(self.variance * rest)

    def slopes(self, features: Matrix) -> tuple[Vector, Vector, Matrix, Matrix]:
        """Means, deviations, and their gradients by feature."""
        scaled = features / self._scales
        squares = _squares(scaled, self._scaled)
        distance = np.sqrt(squares)
        decay = np.exp(-_ROOT5 * distance)
        cross = (1 + _ROOT5 * distance + 5 / 3 * squares) * decay
        pull = -(5 / 3) * (1 + _ROOT5 * distance) * decay
        mean = cross @ self._weights
        back = cross @ self._inverse_root.T @ self._inverse_root
        rest = np.maximum(1.0 - (cross * back).sum(axis=1), 1e-12)
        deviation = np.sqrt(self.variance * rest)
        by_mean, by_rest = pull * self._weights, pull * back
        mean_slope = (by_mean.sum(axis=1)[:, None] * scaled - by_mean @ self._scaled) / self._scales
        rest_slope = (by_rest.sum(axis=1)[:, None] * scaled - by_rest @ self._scaled) / self._scales
        deviation_slope = -self.variance * rest_slope / deviation[:, None]
        return mean, deviation, mean_slope, deviation_slope


def fit(cube: Cube, features: Matrix, values: Vector, steps: int) -> Vector:
    """The length scales and the noise, as logarithms, that explain the values best."""
    distances = cube.distances(features).reshape(cube.size, -1)
    centre = 2**0.5 - 3.0 + 0.5 * np.log(cube.size)

    def loss(theta: Vector) -> tuple[float, Vector]:
        return _loss(theta, distances, values, centre)

    low = np.append(np.full(cube.size, _BOUNDS[0]), _NOISE_BOUNDS[0])
    high = np.append(np.full(cube.size, _BOUNDS[1]), _NOISE_BOUNDS[1])
    found, best = np.empty(0), np.inf
    for scale, noise in ((centre, -7.0), (centre + 1.0, -2.0)):
        start = np.append(np.full(cube.size, scale), noise)
        theta, value = _descend(loss, np.clip(start, low, high), low, high, steps)
        if value < best:
            found, best = theta, value
    return found


def _loss(theta: Vector, distances: Matrix, values: Vector, centre: float) -> tuple[float, Vector]:
    """The negative logarithm of the posterior density, and its gradient."""
    count = len(values)
    weights = np.exp(-2 * theta[:-1])
    squares = weights @ distances
    distance = np.sqrt(squares)
    decay = np.exp(-_ROOT5 * distance)
    correlation = ((1 + _ROOT5 * distance + 5 / 3 * squares) * decay).reshape(count, count)
    noise = np.exp(theta[-1])
    correlation[np.diag_indices(count)] += noise + _JITTER
    try:
        root = np.linalg.cholesky(correlation)
    except np.linalg.LinAlgError:
        return np.inf, np.zeros_like(theta)
    inverse_root = _inverse_of_lower(root)
    inverse = inverse_root.T @ inverse_root
    alpha = inverse @ values
    variance = max(float(values @ alpha) / count, 1e-12)
    outer = inverse - np.outer(alpha, alpha) / variance
    slope = outer.ravel() * ((5 / 3) * (1 + _ROOT5 * distance) * decay)
    # Each half of what the derivative of the correlation and the quadratic form contribute.
    gradient = np.append(0.5 * weights * (distances @ slope), 0.5 * noise * np.trace(outer))
    off = (theta[:-1] - centre) / _PRIOR_SPREAD
    off_noise = (theta[-1] - _NOISE_CENTRE) / _NOISE_SPREAD
    gradient[:-1] += off / _PRIOR_SPREAD
    gradient[-1] += off_noise / _NOISE_SPREAD
    value = 0.5 * count * np.log(variance) + np.log(np.diag(root)).sum()
    return float(value + 0.5 * (off @ off) + 0.5 * off_noise**2), gradient


def _descend(
    loss: Objective, start: Vector, low: Vector, high: Vector, steps: int
) -> tuple[Vector, float]:
    """L-BFGS within bounds: steps are cut off at them, with backtracking."""
    theta = start
    value, gradient = loss(theta)
    moves: list[tuple[Vector, Vector]] = []
    for _ in range(steps):
        direction = _two_loops(gradient, moves)
        stuck = ((theta <= low) & (direction < 0)) | ((theta >= high) & (direction > 0))
        direction = np.where(stuck, 0.0, direction)
        descent = float(gradient @ direction)
        if descent > -1e-6:
            break
        length = 1.0 if moves else min(1.0, 1.0 / float(np.abs(gradient).max()))
        for _ in range(12):
            moved = np.clip(theta + length * direction, low, high)
            after, slope = loss(moved)
            if after <= value + 1e-4 * float(gradient @ (moved - theta)):
                break
            length /= 2
        else:
            break
        step, change = moved - theta, slope - gradient
        if float(step @ change) > 1e-10:
            moves = [*moves[1 - _MEMORY :], (step, change)]
        small = value - after < 1e-4
        theta, value, gradient = moved, after, slope
        if small:
            break
    return theta, value


def _two_loops(gradient: Vector, moves: list[tuple[Vector, Vector]]) -> Vector:
    """The quasi-Newton direction."""
    direction = -gradient
    shares = []
    for step, change in reversed(moves):
        share = float(step @ direction) / float(step @ change)
        direction = direction - share * change
        shares.append(share)
    if moves:
        step, change = moves[-1]
        direction = direction * (float(step @ change) / float(change @ change))
    for (step, change), share in zip(moves, reversed(shares), strict=True):
        direction = direction + step * (share - float(change @ direction) / float(step @ change))
    return np.asarray(direction)


def _matern(squares: Matrix) -> Matrix:
    distance = np.sqrt(squares)
    return np.asarray((1 + _ROOT5 * distance + 5 / 3 * squares) * np.exp(-_ROOT5 * distance))


def _squares(left: Matrix, right: Matrix) -> Matrix:
    """Squared distances between two sets of points."""
    squares = (left * left).sum(axis=1)[:, None] + (right * right).sum(axis=1) - 2 * left @ right.T
    return np.asarray(np.maximum(squares, 0.0))


def _inverse_of_lower(root: Any) -> Matrix:
    return np.asarray(np.linalg.solve(root, np.eye(len(root))))
