"""How good a model is on live requests, from what people said was true.

Where predictions and labels are classes (text, or whole numbers) that is accuracy; else the mean
absolute error. Of both the recent ones are told beside all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

__all__ = ["Quality", "QualityState"]

_RECENT: Final = 1000


class QualityState(msgspec.Struct, omit_defaults=True):
    """What was counted, as it is saved."""

    labelled: int = 0
    unknown: int = 0
    right: int = 0
    absolute_error: float = 0.0
    of_classes: bool = True
    recent: list[float] = []


class Quality:
    """Pairs of predictions and labels, counted."""

    def __init__(self, state: QualityState | None = None) -> None:
        self._state = state or QualityState()
        self._recent = deque(self._state.recent, maxlen=_RECENT)

    @property
    def state(self) -> QualityState:
        """What to save."""
        self._state.recent = list(self._recent)
        return self._state

    def add(self, predictions: Iterable[Any], labels: Iterable[Any]) -> list[float]:
        """Counts the pairs; gives how wrong each was."""
        found = list(self._errors(zip(predictions, labels, strict=False)))
        self._recent.extend(found)
        return found

    def unknown(self, count: int = 1) -> None:
        """Counts labels of requests that nobody knows any more."""
        self._state.unknown += count

    def report(self) -> dict[str, Any]:
        """Accuracy or error over all and recently; counts only, without feedback."""
        state = self._state
        counts = {"labelled": state.labelled, "unknown": state.unknown}
        if not state.labelled or not self._recent:
            return counts
        lately = sum(self._recent) / len(self._recent)
        if state.of_classes:
            accuracy = state.right / state.labelled
            return {
                **counts,
                "accuracy": round(accuracy, 4),
                "recent_accuracy": round(1 - lately, 4),
            }
        error = state.absolute_error / state.labelled
        return {
            **counts,
            "mean_absolute_error": round(error, 6),
            "recent_mean_absolute_error": round(lately, 6),
        }

    def _errors(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[float]:
        for prediction, label in pairs:
            classes = _is_class(prediction) and _is_class(label)
            if not classes and self._state.of_classes:
                if not (_is_number(prediction) and _is_number(label)):
                    self._state.unknown += 1
                    continue
                # Whole numbers may have come by chance: from now on distances count.
                self._state = QualityState(of_classes=False, unknown=self._state.unknown)
                self._recent.clear()
            self._state.labelled += 1
            if self._state.of_classes:
                wrong = 0.0 if _same(prediction, label) else 1.0
                self._state.right += wrong == 0
            else:
                wrong = abs(float(prediction) - float(label))
                self._state.absolute_error += wrong
            yield wrong


def _is_class(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and value.is_integer())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _same(prediction: Any, label: Any) -> bool:
    """Equal, or written the same: ``1``, ``1.0`` and ``"1"`` are one class."""
    return bool(prediction == label) or _written(prediction) == _written(label)


def _written(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).lower()
