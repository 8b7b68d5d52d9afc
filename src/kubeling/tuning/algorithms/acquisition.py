"""How promising a point is, given what a process thinks of it (less is better)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from kubeling.tuning.algorithms.cube import Vector

__all__ = ["Acquisition", "confidence", "expected_improvement", "log_below", "probability"]

Acquisition = Callable[[Vector, Vector], tuple[Vector, Vector, Vector]]
"""Of means and deviations: the worth, and its derivatives by mean and by deviation."""

_ROOT2: Final = 2.0**0.5
_LOG_ROOT_2PI: Final = 0.5 * np.log(2 * np.pi)
_FAR: Final = -40.0
# Chebyshev coefficients of Numerical Recipes' complementary error function (relative error 1e-7).
_ERFC: Final = (
    -1.26551223,
    1.00002368,
    0.37409196,
    0.09678418,
    -0.18628806,
    0.27886807,
    -1.13520398,
    1.48851587,
    -0.82215223,
    0.17087277,
)


def expected_improvement(best: float) -> Acquisition:
    """The logarithm of the expected improvement on a value, which has a slope everywhere."""

    def worth(mean: Vector, deviation: Vector) -> tuple[Vector, Vector, Vector]:
        z = (best - mean) / deviation
        density = np.exp(-0.5 * z * z - _LOG_ROOT_2PI)
        below = _below(z)
        gain = density + z * below
        # Far off both terms cancel; there the gain is the density over the square of z.
        near = z > -5.0
        log_density = -0.5 * z * z - _LOG_ROOT_2PI
        far = log_density - 2 * np.log(np.maximum(-z, 1.0))
        log_gain = np.where(near, np.log(np.maximum(gain, 1e-300)), far)
        by_z = np.where(near, below / np.maximum(gain, 1e-300), -z)
        by_deviation = (1 - z * by_z) / deviation
        return np.log(deviation) + log_gain, -by_z / deviation, by_deviation

    return worth


def probability(best: float) -> Acquisition:
    """The logarithm of the probability of an improvement on a value."""

    def worth(mean: Vector, deviation: Vector) -> tuple[Vector, Vector, Vector]:
        z = (best - mean) / deviation
        value, slope = log_below(z)
        return value, -slope / deviation, -slope * z / deviation

    return worth


def confidence(width: float) -> Acquisition:
    """The lower confidence bound, turned so that more is better."""

    def worth(mean: Vector, deviation: Vector) -> tuple[Vector, Vector, Vector]:
        one = np.ones_like(mean)
        return width * deviation - mean, -one, width * one

    return worth


def log_below(z: Vector) -> tuple[Vector, Vector]:
    """The logarithm of the normal distribution's share below ``z``, and its slope."""
    bounded = np.maximum(z, _FAR)
    size = np.abs(bounded) / _ROOT2
    tail = -size * size + _log_scaled_erfc(size) - np.log(2.0)
    value = np.where(bounded < 0, tail, np.log1p(-np.exp(np.minimum(tail, -1e-12))))
    slope = np.exp(-0.5 * bounded * bounded - _LOG_ROOT_2PI - value)
    return value, slope


def _below(z: Vector) -> Vector:
    size = np.abs(z) / _ROOT2
    tail = 0.5 * np.exp(-size * size + _log_scaled_erfc(size))
    return np.where(z < 0, tail, 1 - tail)


def _log_scaled_erfc(size: Vector) -> Vector:
    """``log(erfc(x)) + x²`` for ``x`` of 0 or more."""
    share = 1 / (1 + 0.5 * size)
    total = np.zeros_like(size)
    for factor in reversed(_ERFC):
        total = total * share + factor
    return np.log(share) + total
