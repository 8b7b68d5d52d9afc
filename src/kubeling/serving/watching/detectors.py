"""Online detectors: when a stream changed, and how unlike the others a row is.

The window's verdict says *whether* requests look like the training data; these say *when* they
changed, without a reference. They come from river, if it is there (``kubeling[monitoring]``):
ADWIN watches each feature, KSWIN the predictions, Page-Hinkley the errors that feedback shows, and
half-space trees give each row a score. What they cost is bounded by how many rows they are given.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from kubeling.serving.drift.profile import Profile

__all__ = ["Detectors"]

_FEATURES: Final = 64
_SCORED: Final = 32
"""Rows of each look that the trees score; they are the dearest."""
_TESTED: Final = 16
_WARM_UP: Final = 250
_USUAL: Final = 500
_RECENT: Final = 500


class Detectors:
    """The detectors of one revision; without river it counts nothing."""

    def __init__(self, now: Callable[[], str]) -> None:
        self._now = now
        self.changes: dict[str, dict[str, Any]] = {}
        """By what was watched: which detector, how often it found a change, and when last."""
        self._adwin: dict[str, Any] = {}
        self._predictions: Any = None
        self._errors: Any = None
        self._trees: Any = None
        self._learned = 0
        self._usual: list[float] = []
        self._scores: deque[float] = deque(maxlen=_RECENT)
        self.available = _river_is_there()

    def rows(self, rows: Sequence[Sequence[Any]], reference: Profile | None) -> None:
        """Takes the rows of a look."""
        if not self.available:
            return
        new_adwin = _river("drift").ADWIN
        names = list(reference.features) if reference else []
        for row in rows:
            for place, value in enumerate(row[:_FEATURES]):
                if _is_number(value):
                    title = names[place] if place < len(names) else str(place)
                    detector = self._adwin.get(title)
                    if detector is None:
                        detector = self._adwin[title] = new_adwin()
                    self._update(detector, float(value), title, "adwin")
        if reference is not None:
            self._score(rows[:_SCORED], reference)

    def predictions(self, values: Iterable[Any]) -> None:
        """Takes the predictions of a look."""
        numbers = [float(value) for value in values if _is_number(value)][:_TESTED]
        if not self.available or not numbers:
            return
        if self._predictions is None:
            self._predictions = _river("drift").KSWIN(alpha=0.0005, seed=1)
        for number in numbers:
            self._update(self._predictions, number, "predictions", "kswin")

    def errors(self, values: Iterable[float]) -> None:
        """Takes how wrong predictions were."""
        if not self.available:
            return
        if self._errors is None:
            self._errors = _river("drift").PageHinkley(threshold=20)
        for value in values:
            self._update(self._errors, value, "errors", "page-hinkley")

    def outliers(self) -> dict[str, Any]:
        """How unlike the usual the recent rows are; empty until that can be told."""
        if len(self._usual) < _USUAL or not self._scores:
            return {}
        limit = max(self._usual)
        above = sum(score > limit for score in self._scores)
        mean = sum(self._scores) / len(self._scores)
        return {"score": round(mean, 4), "share": round(above / len(self._scores), 4)}

    def _update(self, detector: Any, value: float, title: str, kind: str) -> None:
        detector.update(value)
        if detector.drift_detected:
            found = self.changes.setdefault(title, {"detector": kind, "count": 0})
            found["count"] += 1
            found["last"] = self._now()

    def _score(self, rows: Sequence[Sequence[Any]], reference: Profile) -> None:
        if self._trees is None:
            self._trees = _river("anomaly").HalfSpaceTrees(
                n_trees=10, height=8, window_size=_WARM_UP, seed=1
            )
        for row in rows:
            point = _scaled(row, reference)
            if not point:
                continue
            if self._learned >= _WARM_UP:
                score = float(self._trees.score_one(point))
                (self._usual if len(self._usual) < _USUAL else self._scores).append(score)
            if len(self._usual) < _USUAL:
                # What comes later is compared with what was usual then, so nothing more is learnt.
                self._trees.learn_one(point)
                self._learned += 1


def _scaled(row: Sequence[Any], reference: Profile) -> dict[str, float]:
    """The numbers of a row within the range of the reference, as the trees want them."""
    point = {}
    for (title, profile), value in zip(reference.features.items(), row[:_FEATURES], strict=False):
        if profile.low is not None and profile.high is not None and _is_number(value):
            # Half a range to either side, so that what lies outside is still told apart.
            width = (profile.high - profile.low) or 1.0
            point[title] = min(1.0, max(0.0, 0.25 + (value - profile.low) / width / 2))
    return point


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and value == value


def _river(part: str) -> Any:
    return importlib.import_module(f"river.{part}")


def _river_is_there() -> bool:
    return importlib.util.find_spec("river") is not None
