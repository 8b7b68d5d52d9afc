"""Reference profiles: what a data set looked like, small enough to keep beside a model.

A feature of numbers keeps bins with counts, its range and an even sample of its sorted values; a
feature of few distinct values or of text keeps the counts of its values, the rarest together. How
many values were missing is kept of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["PROFILE_FILE", "FeatureProfile", "Profile", "feature_profile", "present", "profile_of"]

PROFILE_FILE: Final = "reference-profile.json"
"""Its name beside a model's files."""

_BINS: Final = 10
_SAMPLE: Final = 1000
_FEW: Final = 10
_CATEGORIES: Final = 100


class FeatureProfile(msgspec.Struct, omit_defaults=True):
    """One feature: either ``edges`` with ``counts`` and a ``sample``, or ``categories``.

    ``other`` counts the values of categories that were too many to be kept by name.
    """

    edges: list[float] = []
    counts: list[int] = []
    sample: list[float] = []
    categories: dict[str, int] = {}
    other: int = 0
    missing: int = 0
    low: float | None = None
    high: float | None = None

    @property
    def size(self) -> int:
        """How many values it was made from, missing ones included."""
        return (sum(self.counts) or sum(self.categories.values()) + self.other) + self.missing


class Profile(msgspec.Struct, omit_defaults=True):
    """A data set: its features in order, and its predictions if they were known."""

    features: dict[str, FeatureProfile]
    predictions: FeatureProfile | None = None

    def __repr__(self) -> str:
        return f"<Profile of {', '.join(self.features)}>"


def profile_of(rows: Array, names: Sequence[str] = (), predictions: Array | None = None) -> Profile:
    """The profile of a table; features without a name are called by their position."""
    width = rows.shape[1] if rows.ndim == 2 else 1
    table = rows.reshape(len(rows), width)
    titles = [*names, *(str(index) for index in range(len(names), width))][:width]
    features = {title: feature_profile(table[:, i]) for i, title in enumerate(titles)}
    found = None if predictions is None else feature_profile(np.asarray(predictions).ravel())
    return Profile(features, found)


def feature_profile(values: Array) -> FeatureProfile:
    """The profile of one feature."""
    given = present(values)
    missing = len(values) - len(given)
    numbers = as_numbers(given)
    if numbers is None or len(np.unique(numbers)) <= _FEW:
        return _of_categories(given, missing)
    inner = np.unique(np.quantile(numbers, np.linspace(0, 1, _BINS + 1)[1:-1]))
    counts = np.bincount(np.searchsorted(inner, numbers, side="right"), minlength=len(inner) + 1)
    ordered = np.sort(numbers)
    picked = np.linspace(0, len(ordered) - 1, min(_SAMPLE, len(ordered))).round().astype(int)
    return FeatureProfile(
        inner.tolist(),
        counts.tolist(),
        ordered[picked].tolist(),
        missing=missing,
        low=float(ordered[0]),
        high=float(ordered[-1]),
    )


def _of_categories(given: Array, missing: int) -> FeatureProfile:
    found, counts = np.unique(category_names(given), return_counts=True)
    kept = np.sort(np.argsort(-counts, kind="stable")[:_CATEGORIES])
    named = dict(zip(found[kept].tolist(), counts[kept].tolist(), strict=True))
    return FeatureProfile(
        categories=named, other=int(counts.sum() - counts[kept].sum()), missing=missing
    )


def present(values: Array) -> Array:
    """The values that are there: neither null nor empty, nor what is no number among numbers."""
    if values.dtype.kind in "biu":
        return values
    if values.dtype.kind == "f":
        found: Array = values[np.isfinite(values)]
        return found
    kept = np.asarray([not _is_missing(value) for value in values.tolist()], dtype=bool)
    there: Array = values[kept]
    return there


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or value != value


def as_numbers(values: Array) -> Array | None:
    """The finite values as numbers, or ``None`` if they are not numbers."""
    try:
        numbers = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        return None
    finite: Array = numbers[np.isfinite(numbers)]
    return finite


def category_names(values: Array) -> Array:
    """Values as names; 1 and 1.0 are the same."""
    return np.asarray([_name(value) for value in values.tolist()], dtype=str)


def _name(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
