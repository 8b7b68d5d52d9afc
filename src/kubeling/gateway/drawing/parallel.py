"""Parallel coordinates: one line per trial across its parameters and its metric.

Many axes make the picture wider than a page, which scrolls, not its names run into each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from kubeling.gateway.drawing.plane import Scale, number
from kubeling.gateway.drawing.svg import element

__all__ = ["Axis", "Line", "axes_of", "draw_parallel"]

_WIDTH, _HEIGHT, _TOP, _BOTTOM, _SIDE = 860, 280, 34, 28, 60
_MOST_CATEGORIES: Final = 8
_LEAST_STEP: Final = 88
_LETTER: Final = 7.2
_FEWEST_LETTERS: Final = 10


@dataclass(frozen=True, slots=True)
class Line:
    """One trial's values by axis name, as text; ``best`` lines are drawn last and strong.

    ``rank`` is how good it is, from 0 for the best fifth to 4 for the worst.
    """

    name: str
    values: Mapping[str, str]
    best: bool = False
    rank: int | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale with a name."""

    name: str
    scale: Scale


def axes_of(lines: Sequence[Line], names: Sequence[str]) -> list[Axis]:
    """Axes that span the lines' values; an axis with a value that is no number is categorical."""
    axes = []
    for name in names:
        values = [line.values[name] for line in lines if name in line.values]
        numbers = [found for value in values if (found := number(value)) is not None]
        if values and len(numbers) == len(values):
            axes.append(Axis(name, Scale(min(numbers), max(numbers))))
        else:
            axes.append(Axis(name, Scale.of_categories(sorted(set(values)))))
    return axes


def draw_parallel(lines: Sequence[Line], axes: Sequence[Axis]) -> Markup:
    """The plot as an SVG element, empty without at least two axes and a line."""
    if len(axes) < 2 or not lines:
        return Markup("")
    step = max((_WIDTH - 2 * _SIDE) / (len(axes) - 1), _LEAST_STEP)
    width = 2 * _SIDE + step * (len(axes) - 1)
    places = [_SIDE + i * step for i in range(len(axes))]
    # The good ones lie over the others.
    order = sorted(
        lines, key=lambda line: (line.best, -(line.rank if line.rank is not None else 9))
    )
    drawn = [_line(line, axes, places) for line in order]
    scales = [_axis(axis, x, step) for axis, x in zip(axes, places, strict=True)]
    return element(
        "svg",
        *drawn,
        *scales,
        class_="parallel",
        viewBox=f"0 0 {width:g} {_HEIGHT}",
        style=f"min-width: {width:g}px" if width > _WIDTH else None,
        role="img",
        aria_label=f"parallel coordinates of {len(lines)} trials",
    )


def _line(line: Line, axes: Sequence[Axis], places: Sequence[float]) -> Markup:
    points = [
        f"{x:g},{_y(place):.1f}"
        for axis, x in zip(axes, places, strict=True)
        if (place := axis.scale.place(line.values.get(axis.name, ""))) is not None
    ]
    shown = ", ".join(f"{key} = {value}" for key, value in line.values.items())
    kind = "trial best" if line.best else "trial"
    if line.rank is not None and not line.best:
        kind += f" q{line.rank}"
    drawn = element(
        "polyline",
        element("title", f"{line.name}: {shown}"),
        points=" ".join(points),
        class_=kind,
    )
    return element("a", drawn, href=line.link, tabindex="-1") if line.link else drawn


def _axis(axis: Axis, x: float, step: float) -> Markup:
    scale = axis.scale
    if scale.categories:
        shown = scale.marks()[:_MOST_CATEGORIES]
    else:
        shown = [(0.0, f"{scale.low:.4g}"), (1.0, f"{scale.high:.4g}")]
    marks = []
    for place, text in shown:
        y = _y(place)
        y += 16 if place == 0 else -6 if place == 1 else 4
        aside = {"dx": 6, "class_": "beside"} if 0 < place < 1 else {}
        marks.append(element("text", text, x=f"{x:g}", y=f"{y:.1f}", **aside))
    return element(
        "g",
        element("line", x1=f"{x:g}", x2=f"{x:g}", y1=_TOP, y2=_HEIGHT - _BOTTOM),
        element(
            "text",
            element("title", axis.name),
            _cut(axis.name, max(int(step / _LETTER), _FEWEST_LETTERS)),
            x=f"{x:g}",
            y=12,
            class_="name",
        ),
        *marks,
        class_="axis",
    )


def _cut(name: str, letters: int) -> str:
    """A name without its middle: parameters are often told apart by their ends."""
    if len(name) <= letters:
        return name
    end = letters // 2
    return f"{name[: letters - end - 1]}…{name[-end:]}"


def _y(place: float) -> float:
    return _HEIGHT - _BOTTOM - place * (_HEIGHT - _TOP - _BOTTOM)
