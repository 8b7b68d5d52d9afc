"""Rows to compare two models on, made from what a model knows of its features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["SAMPLES", "probe_rows", "sample_rows"]

SAMPLES: Final = ("sample.npy", "sample.csv")
"""Files beside a model with rows of the kind it is asked for."""

_ROWS: Final = 512
_MOST: Final = 10_000
_SCALES: Final = (0.1, 1.0, 10.0, 100.0)


def probe_rows(width: int, known: Mapping[int, Array]) -> Array:
    """Rows that lie between all values where the model may change its mind.

    ``known`` has those of each feature: thresholds of trees, rows it was fitted on, what a scaler
    saw. Where a model knows none at all, rows are drawn at several scales.
    """
    random = np.random.default_rng(0)
    if not any(len(values) for values in known.values()):
        scales = np.repeat(_SCALES, _ROWS // len(_SCALES))
        drawn: Array = random.standard_normal((len(scales), width)) * scales[:, None]
        return drawn
    columns = [
        _between(np.unique(known[feature]), random)
        if len(known.get(feature, ()))
        else random.standard_normal(_ROWS)
        for feature in range(width)
    ]
    return np.stack(columns, axis=1)


def sample_rows(directory: Path, width: int) -> Array | None:
    """The rows of a sample file; raises ``ValueError`` if they are not the model's."""
    for name in SAMPLES:
        for file in sorted(directory.rglob(name)):
            rows = np.load(file) if name.endswith(".npy") else _read_csv(file)
            if rows.ndim != 2 or rows.shape[1] != width or rows.dtype.kind not in "biuf":
                raise ValueError(f"{name} must hold rows of {width} numbers")
            return np.asarray(rows[:_MOST], dtype=float)
    return None


def _between(values: Array, random: np.random.Generator) -> Array:
    middles = (values[1:] + values[:-1]) / 2
    margin = max(1.0, float(values[-1] - values[0]) / 10)
    places = np.concatenate([[values[0] - margin], middles, [values[-1] + margin]])
    # Every place once, where there is room for all; then at random.
    first = random.permutation(places)[:_ROWS]
    rest = random.choice(places, _ROWS - len(first))
    found: Array = random.permutation(np.concatenate([first, rest]))
    return found


def _read_csv(file: Path) -> Array:
    with file.open() as lines:
        first = lines.readline()
    try:
        [float(cell) for cell in first.split(",")]
    except ValueError:
        return np.loadtxt(file, delimiter=",", skiprows=1, ndmin=2)
    return np.loadtxt(file, delimiter=",", ndmin=2)
