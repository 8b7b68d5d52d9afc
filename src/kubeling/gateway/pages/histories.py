"""How a run's metrics went: what its Metrics artifacts say, one after the other. Pure.

Metrics of the pipelines' SDK have one value each. A history is what several of them say in the
order they were made (a loop over epochs, a step that is tried again), or a list that a step logged
as one metric: of values, or of pairs of step and value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kubeling.gateway.drawing.plane import number
from kubeling.gateway.inputs import text_of

__all__ = ["histories_of", "values_of"]

_OURS: Final = ("display_name", "store_session_info")
Points = list[tuple[float, float]]


def values_of(metrics: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The last value of each metric; ``metrics`` are artifacts' metadata in order."""
    found: dict[str, str] = {}
    for metadata in metrics:
        for name, value in metadata.items():
            if name in _OURS:
                continue
            if isinstance(value, int | float | str):
                found[name] = text_of(value)
            elif points := _points(value):
                found[name] = f"{points[-1][1]:.6g}"
    return found


def histories_of(metrics: Iterable[Mapping[str, Any]]) -> dict[str, Points]:
    """The metrics that have more than one value."""
    found: dict[str, Points] = {}
    for metadata in metrics:
        for name, value in metadata.items():
            if name in _OURS or isinstance(value, bool):
                continue
            so_far = found.setdefault(name, [])
            if points := _points(value):
                so_far += points
            elif (single := number(value)) is not None:
                so_far.append((float(len(so_far)), single))
    return {name: points for name, points in found.items() if len(points) > 1}


def _points(value: Any) -> Points:
    """A list of numbers, of pairs, or of ``{"step": …, "value": …}``; empty if it is none."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    points: Points = []
    for place, entry in enumerate(value):
        if isinstance(entry, Mapping):
            pair: tuple[Any, Any] = (entry.get("step", place), entry.get("value"))
        elif isinstance(entry, Sequence) and not isinstance(entry, str) and len(entry) == 2:
            pair = (entry[0], entry[1])
        else:
            pair = (place, entry)
        x, y = number(pair[0]), number(pair[1])
        if x is None or y is None:
            return []
        points.append((x, y))
    return points
