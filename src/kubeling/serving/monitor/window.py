"""The most recent requests, and how they compare with the reference."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec
import numpy as np

from kubeling.serving.drift.profile import Profile
from kubeling.serving.drift.records import predictions_of, rows_of
from kubeling.serving.drift.report import compare

__all__ = ["Window"]

_SIZE: Final = 5000


class Window:
    """Keeps the last rows and predictions; memory is bounded by their number."""

    def __init__(self, reference: Profile | None, size: int = _SIZE) -> None:
        self.reference = reference
        self.seen = 0
        self.unreadable = 0
        self._rows: deque[list[Any]] = deque(maxlen=size)
        self._predictions: deque[Any] = deque(maxlen=size)

    def add(self, request: bytes, response: bytes) -> None:
        """Takes one answered request; what cannot be read is counted."""
        try:
            rows = rows_of(msgspec.json.decode(request))
            predictions = predictions_of(msgspec.json.decode(response))
        except (ValueError, KeyError, TypeError):
            self.unreadable += 1
            return
        self.seen += 1
        self._rows.extend(rows)
        self._predictions.extend(predictions)

    def report(self) -> dict[str, Any]:
        """How the window compares with the reference; counts only, without one."""
        counts = {"requests": self.seen, "window": len(self._rows), "unreadable": self.unreadable}
        if self.reference is None:
            return {**counts, "message": "no reference profile is given; set --reference"}
        try:
            rows = np.asarray(list(self._rows))
            found = compare(self.reference, rows, np.asarray(list(self._predictions)))
        except ValueError as error:
            return {**counts, "message": str(error)}
        return {**counts, **found}
