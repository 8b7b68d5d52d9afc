"""A filled contour: what the objective is like over two parameters, with the trials on it."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from kubeling.gateway.drawing.plane import Plane
from kubeling.gateway.drawing.scatter import Dot
from kubeling.gateway.drawing.svg import element

__all__ = ["BANDS", "draw_contour"]

BANDS = 8


def draw_contour(
    plane: Plane, grid: Sequence[Sequence[int]], dots: Sequence[Dot], x_name: str, y_name: str
) -> Markup:
    """``grid`` holds rows from the bottom up, of bands from 0 (bad) to ``BANDS - 1`` (good)."""
    if not grid:
        return Markup("")
    cells = [_row(plane, row, place / len(grid), 1 / len(grid)) for place, row in enumerate(grid)]
    points = []
    for dot in dots:
        if (at := plane.point(dot.x, dot.y)) is not None:
            circle = element(
                "circle",
                element("title", dot.title),
                cx=f"{at[0]:.1f}",
                cy=f"{at[1]:.1f}",
                r=5 if dot.kind == "best" else 3.5,
                class_=f"dot {dot.kind}".rstrip(),
            )
            points.append(
                element("a", circle, href=dot.link, tabindex="-1") if dot.link else circle
            )
    label = f"the objective over {x_name} and {y_name}, {len(dots)} trials"
    return plane.draw("contour", label, *cells, plane.frame(x_name, y_name), *points)


def _row(plane: Plane, row: Sequence[int], low: float, height: float) -> Markup:
    """Cells of one band side by side are one rectangle."""
    parts = []
    start = 0
    for place in range(1, len(row) + 1):
        if place < len(row) and row[place] == row[start]:
            continue
        left, right = plane.across(start / len(row)), plane.across(place / len(row))
        top, bottom = plane.up(low + height), plane.up(low)
        parts.append(
            element(
                "rect",
                x=f"{left:.1f}",
                y=f"{top:.1f}",
                # A hair more, so that no seams show.
                width=f"{right - left + 0.4:.1f}",
                height=f"{bottom - top + 0.4:.1f}",
                class_=f"band b{row[start]}",
            )
        )
        start = place
    return Markup("").join(parts)
