"""The window of the monitoring transformer: what passed by, and how it compares."""

from __future__ import annotations

from typing import Any

import msgspec

from kubeling.serving.drift.profile import Profile
from kubeling.serving.drift.records import predictions_of, rows_of
from kubeling.serving.drift.window import WINDOW_ROWS, Window

__all__ = ["MonitorWindow"]


class MonitorWindow:
    """Keeps the last rows and predictions, and counts."""

    def __init__(self, reference: Profile | None, size: int = WINDOW_ROWS) -> None:
        self.reference = reference
        self.seen = 0
        self.unreadable = 0
        self._window = Window(size)

    def add(self, request: bytes, response: bytes) -> None:
        """Takes one answered request; what cannot be read is counted."""
        try:
            rows = rows_of(msgspec.json.decode(request))
            predictions = predictions_of(msgspec.json.decode(response))
        except Exception:
            # A request may be anything that its model takes.
            self.unreadable += 1
            return
        self.seen += 1
        self._window.add(rows, predictions)

    def report(self) -> dict[str, Any]:
        """How the window compares with the reference; counts only, without one."""
        rows = len(self._window.rows)
        counts = {"requests": self.seen, "window": rows, "unreadable": self.unreadable}
        if self.reference is None:
            return {**counts, "message": "no reference profile is given; set --reference"}
        try:
            return {**counts, **self._window.compare(self.reference)}
        except ValueError as error:
            return {**counts, "message": str(error)}
