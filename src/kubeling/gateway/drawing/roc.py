"""Receiver operating characteristics: how many are found at the price of how many false alarms."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from kubeling.gateway.drawing.svg import element

__all__ = ["area_under", "draw_roc", "points_of"]

_SIZE: Final = 260
_LEFT: Final = 44
_TOP: Final = 12
_COLOURS: Final = 10

Points = Sequence[tuple[float, float]]


def points_of(metadata: Mapping[str, Any]) -> list[tuple[float, float]]:
    """The curve in a ClassificationMetrics artifact's metadata: pairs of false and true rates."""
    found = metadata.get("confidenceMetrics") or metadata.get("confidence_metrics") or ()
    if isinstance(found, Mapping):
        found = found.get("list") or found.get("values") or ()
    points = []
    for entry in found:
        try:
            points.append((float(entry["falsePositiveRate"]), float(entry["recall"])))
        except (KeyError, TypeError, ValueError):
            continue
    return sorted(points)


def area_under(points: Points) -> float:
    """The area under a curve, from corner to corner."""
    whole = [(0.0, 0.0), *points, (1.0, 1.0)]
    pairs = itertools.pairwise(whole)
    return sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in pairs)


def draw_roc(curves: Mapping[str, Points]) -> Markup:
    """All the curves in one square, told apart by colour and by a legend."""
    parts = [_frame()]
    height = _TOP + _SIZE + 46 + 20 * len(curves)
    for number, (name, points) in enumerate(curves.items()):
        kind = f"curve c{number % _COLOURS}"
        path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
        parts.append(
            element("polyline", element("title", name), points=path, class_=kind, fill="none")
        )
        y = _TOP + _SIZE + 58 + 20 * number
        parts += [
            element("line", x1=_LEFT, x2=_LEFT + 18, y1=y - 4, y2=y - 4, class_=kind),
            element("text", f"{name}, area {area_under(points):.3f}", x=_LEFT + 26, y=y),
        ]
    return element(
        "svg",
        *parts,
        class_="roc",
        viewBox=f"0 0 {_LEFT + _SIZE + 120} {height}",
        role="img",
        aria_label=f"ROC of {', '.join(curves)}",
    )


def _frame() -> Markup:
    parts = [
        element("rect", x=_LEFT, y=_TOP, width=_SIZE, height=_SIZE, class_="ground"),
        element("line", x1=_x(0), y1=_y(0), x2=_x(1), y2=_y(1), class_="chance"),
        element("text", "false positive rate", x=_LEFT + _SIZE / 2, y=_y(0) + 34, class_="name"),
        element(
            "text",
            "true positive rate",
            x=-(_TOP + _SIZE / 2),
            y=12,
            transform="rotate(-90)",
            class_="name",
        ),
    ]
    for value in (0.0, 0.5, 1.0):
        parts += [
            element("text", f"{value:g}", x=_x(value), y=_y(0) + 16, class_="tick"),
            element("text", f"{value:g}", x=_LEFT - 14, y=_y(value) + 4, class_="tick"),
        ]
    return Markup("").join(parts)


def _x(value: float) -> float:
    return _LEFT + value * _SIZE


def _y(value: float) -> float:
    return _TOP + (1 - value) * _SIZE
