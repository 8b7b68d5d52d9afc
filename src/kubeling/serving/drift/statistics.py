"""The measures, and how likely they are without drift.

The population stability index says how much a distribution moved, the Kolmogorov-Smirnov statistic
how far apart two samples are at most, and chi-squared how far counts of categories are. All are
large by chance when few requests were seen, so each comes with the probability of a value this
large if nothing had changed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = [
    "chi_squared",
    "chi_squared_p_value",
    "ks_p_value",
    "ks_statistic",
    "psi",
    "psi_p_value",
]


def psi(reference: Array, current: Array) -> float:
    """The index of two histograms over the same bins, as counts; empty bins are smoothed."""
    p = (reference + 0.5) / (reference.sum() + 0.5 * len(reference))
    q = (current + 0.5) / (current.sum() + 0.5 * len(current))
    return float(np.sum((q - p) * np.log(q / p)))


def psi_p_value(value: float, bins: int, reference: int, current: int) -> float:
    """Without drift the scaled index is about chi-squared with one degree less than bins."""
    if bins < 2 or not reference or not current:
        return 1.0
    scaled = value * reference * current / (reference + current)
    return chi_squared_p_value(scaled, bins - 1)


def chi_squared(reference: Array, current: Array) -> tuple[float, int]:
    """Pearson's statistic that two rows of counts are of one distribution, and its degrees."""
    table = np.stack([reference, current]).astype(float)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return 0.0, 0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(((table - expected) ** 2 / expected).sum()), table.shape[1] - 1


def ks_statistic(reference: Array, current: Array) -> float:
    """The largest distance between the empirical distributions of two samples."""
    a, b = np.sort(reference), np.sort(current)
    points = np.concatenate([a, b])
    below_a = np.searchsorted(a, points, side="right") / len(a)
    below_b = np.searchsorted(b, points, side="right") / len(b)
    return float(np.max(np.abs(below_a - below_b)))


def ks_p_value(statistic: float, reference: int, current: int) -> float:
    """The asymptotic two-sided probability (Kolmogorov's series, with Stephens' correction)."""
    root = math.sqrt(reference * current / (reference + current))
    scaled = (root + 0.12 + 0.11 / root) * statistic
    if scaled < 0.2:
        return 1.0
    terms = (math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    total = sum(term if odd % 2 == 0 else -term for odd, term in enumerate(terms))
    return min(1.0, max(0.0, 2 * total))


def chi_squared_p_value(value: float, degrees: int) -> float:
    """Wilson and Hilferty's approximation: the cube root is nearly normal."""
    if value <= 0 or degrees < 1:
        return 1.0
    spread = 2 / (9 * degrees)
    z = ((value / degrees) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return 0.5 * math.erfc(z / math.sqrt(2))
