"""Values that change step by step: a line each, told apart by colour and by a legend.

With many lines a legend would be longer than the chart: then only those that stand out are in
colour and named, the others are thin and say their name when pointed at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from kubeling.gateway.drawing.plane import Plane, Scale
from kubeling.gateway.drawing.svg import element

__all__ = ["Curve", "draw_curves", "thinned"]

_COLOURS: Final = 10
_ROW: Final = 20
_COLUMNS: Final = 2
_MOST_NAMED: Final = 10
_POINTS: Final = 240


@dataclass(frozen=True, slots=True)
class Curve:
    """Points in order; ``strong`` ones stand out, ``link`` is where a click leads."""

    name: str
    points: Sequence[tuple[float, float]]
    strong: bool = False
    link: str = ""


def draw_curves(
    curves: Sequence[Curve],
    x_name: str,
    y_name: str,
    *,
    log: bool = False,
    size: tuple[float, float] = (720, 300),
) -> Markup:
    """All the curves in one frame, with a legend if there are several; empty without a point."""
    drawn = [curve for curve in curves if curve.points]
    if not drawn:
        return Markup("")
    xs = [x for curve in drawn for x, _ in curve.points]
    ys = [y for curve in drawn for _, y in curve.points]
    named = drawn if len(drawn) <= _MOST_NAMED else [c for c in drawn if c.strong][:_MOST_NAMED]
    rows = -(-len(named) // _COLUMNS) if len(drawn) > 1 else 0
    below = rows * _ROW + 6 if rows else 0
    plane = Plane(Scale.of(xs, whole=True), Scale.of(ys, log=log), *size, below)
    colours = {curve.name: f"c{number % _COLOURS}" for number, curve in enumerate(named)}
    # The ones that stand out lie over the others.
    lines = [
        _line(plane, curve, colours.get(curve.name, "rest"))
        for curve in sorted(drawn, key=lambda c: (c.name in colours, c.strong))
    ]
    label = f"{y_name} of {', '.join(curve.name for curve in drawn[:_MOST_NAMED])}"
    parts = [plane.frame(x_name, y_name), *lines]
    return plane.draw("curves", label, *parts, _legend(plane, colours) if rows else "")


def thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """As many points as can be told apart: the lowest and the highest of each stretch."""
    if len(points) <= _POINTS:
        return points
    inner = points[1:-1]
    size = -(-len(inner) * 2 // _POINTS)
    kept = []
    for start in range(0, len(inner), size):
        stretch = inner[start : start + size]
        low, high = min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])
        kept += [low] if low == high else sorted((low, high))
    return [points[0], *kept, points[-1]]


def _line(plane: Plane, curve: Curve, colour: str) -> Markup:
    places = [at for x, y in thinned(curve.points) if (at := plane.point(x, y)) is not None]
    last = curve.points[-1][1]
    title = element("title", f"{curve.name}: {last:.6g} last, {len(curve.points)} values")
    kind = f"curve {colour}{' strong' if curve.strong else ''}"
    if len(places) == 1:
        drawn = element(
            "circle", title, cx=f"{places[0][0]:.1f}", cy=f"{places[0][1]:.1f}", r=3, class_=kind
        )
    else:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn = element("polyline", title, points=path, class_=kind, fill="none")
    return element("a", drawn, href=curve.link, tabindex="-1") if curve.link else drawn


def _legend(plane: Plane, colours: Mapping[str, str]) -> Markup:
    parts = []
    width = (plane.width - plane.left) / _COLUMNS
    for place, (name, colour) in enumerate(colours.items()):
        x = plane.left + place % _COLUMNS * width
        y = plane.height + place // _COLUMNS * _ROW
        parts += [
            element(
                "line",
                x1=f"{x:g}",
                x2=f"{x + 18:g}",
                y1=f"{y:g}",
                y2=f"{y:g}",
                class_=f"curve {colour}",
            ),
            element("text", _cut(name), x=f"{x + 24:g}", y=f"{y + 4:g}"),
        ]
    return Markup("").join(parts)


def _cut(name: str, most: int = 44) -> str:
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-most // 2 + 1 :]}"
