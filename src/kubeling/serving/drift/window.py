"""The most recent rows that a model was asked about, and how they compare with a reference.

Memory is bounded by the number of values, so that a model of a thousand features is watched by
fewer rows than one of four.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kubeling.serving.drift.profile import Profile, profile_of
from kubeling.serving.drift.report import Thresholds, compare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["WINDOW_ROWS", "Window"]

WINDOW_ROWS: Final = 5000
_VALUES: Final = 500_000


class Window:
    """The last rows, and the last predictions; rows of another width begin it anew."""

    def __init__(self, size: int = WINDOW_ROWS) -> None:
        self._size = size
        self.rows: deque[Sequence[Any]] = deque(maxlen=size)
        self.predictions: deque[Any] = deque(maxlen=size)

    def add(self, rows: Iterable[Sequence[Any]], predictions: Iterable[Any] = ()) -> None:
        """Takes rows and predictions; each replaces the oldest once there are enough."""
        for row in rows:
            if not self.rows or len(row) != len(self.rows[-1]):
                self.rows = deque(maxlen=self._most(len(row)))
            self.rows.append(row)
        self.predictions.extend(predictions)

    def resize(self, size: int) -> None:
        """Keeps so many from now on: of those that are there, the newest."""
        self._size = size
        self.predictions = deque(self.predictions, maxlen=size)
        width = len(self.rows[-1]) if self.rows else 1
        self.rows = deque(self.rows, maxlen=self._most(width))

    def _most(self, width: int) -> int:
        return max(1, min(self._size, _VALUES // max(1, width)))

    def profile(self, names: Sequence[str] = ()) -> Profile:
        """What is in it now, as a reference for what comes."""
        predictions = table(self.predictions) if self.predictions else None
        return profile_of(table(self.rows), names, predictions)

    def compare(self, reference: Profile, limits: Thresholds | None = None) -> dict[str, Any]:
        """The report of :func:`~.report.compare`; raises :class:`ValueError`."""
        return compare(reference, table(self.rows), table(self.predictions), limits)


def table(values: Iterable[Any]) -> Array:
    """Values as an array: of numbers if they are, else of objects, so that none is renamed."""
    listed = list(values)
    try:
        found = np.asarray(listed)
    except ValueError:
        raise ValueError("the rows differ in their number of features") from None
    return np.asarray(listed, dtype=object) if found.dtype.kind in "US" else found
