"""Points on a plane, with a line through some of them: how a search went, and what it trades."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kubeling.gateway.drawing.plane import Plane
from kubeling.gateway.drawing.svg import element

__all__ = ["Dot", "draw_scatter"]


@dataclass(frozen=True, slots=True)
class Dot:
    """A point; ``kind`` is a class of the style sheet, ``link`` where a click leads."""

    x: float | str
    y: float | str
    title: str
    kind: str = ""
    link: str = ""


def draw_scatter(
    plane: Plane,
    dots: Sequence[Dot],
    x_name: str,
    y_name: str,
    *,
    steps: Sequence[tuple[float, float]] = (),
) -> Markup:
    """The dots, and a staircase through ``steps``; empty without a dot."""
    if not dots:
        return Markup("")
    drawn = [dot for one in dots if (dot := _dot(plane, one))]
    label = f"{y_name} by {x_name}, {len(dots)} points"
    return plane.draw("scatter", label, plane.frame(x_name, y_name), _stairs(plane, steps), *drawn)


def _dot(plane: Plane, dot: Dot) -> Markup | None:
    at = plane.point(dot.x, dot.y)
    if at is None:
        return None
    drawn = element(
        "circle",
        element("title", dot.title),
        cx=f"{at[0]:.1f}",
        cy=f"{at[1]:.1f}",
        r=5 if dot.kind == "best" else 4,
        class_=f"dot {dot.kind}".rstrip(),
    )
    # The table beside the chart has the same links for those who go by the keyboard.
    return element("a", drawn, href=dot.link, tabindex="-1") if dot.link else drawn


def _stairs(plane: Plane, steps: Sequence[tuple[float, float]]) -> Markup:
    places = [at for x, y in steps if (at := plane.point(x, y)) is not None]
    if len(places) < 2:
        return Markup("")
    corners = [places[0]]
    for (_, before), (x, y) in itertools.pairwise(places):
        corners += [(x, before), (x, y)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return element("polyline", points=path, class_="stairs", fill="none")
