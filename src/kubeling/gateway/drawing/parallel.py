"""Parallel coordinates: one line per trial across its parameters and its metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kubeling.gateway.drawing.svg import element

__all__ = ["Axis", "Line", "axes_of", "draw_parallel"]

_WIDTH, _HEIGHT, _TOP, _BOTTOM, _SIDE = 860, 260, 34, 28, 60


@dataclass(frozen=True, slots=True)
class Line:
    """One trial's values by axis name, as text; ``best`` lines are drawn last and strong."""

    name: str
    values: Mapping[str, str]
    best: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale: numeric between two bounds, or one place per category."""

    name: str
    low: float = 0.0
    high: float = 1.0
    categories: tuple[str, ...] = ()

    def place(self, value: str) -> float | None:
        """Where a value lies between 0 and 1; ``None`` if it is not on the axis."""
        if self.categories:
            if value not in self.categories:
                return None
            return self.categories.index(value) / max(len(self.categories) - 1, 1)
        number = _number(value)
        if number is None:
            return None
        return (number - self.low) / (self.high - self.low) if self.high > self.low else 0.5


def axes_of(lines: Sequence[Line], names: Sequence[str]) -> list[Axis]:
    """Axes that span the lines' values; an axis with a value that is no number is categorical."""
    axes = []
    for name in names:
        values = [line.values[name] for line in lines if name in line.values]
        numbers = [number for value in values if (number := _number(value)) is not None]
        if values and len(numbers) == len(values):
            axes.append(Axis(name, min(numbers), max(numbers)))
        else:
            axes.append(Axis(name, categories=tuple(sorted(set(values)))))
    return axes


def draw_parallel(lines: Sequence[Line], axes: Sequence[Axis]) -> Markup:
    """The plot as an SVG element, empty without at least two axes and a line."""
    if len(axes) < 2 or not lines:
        return Markup("")
    step = (_WIDTH - 2 * _SIDE) / (len(axes) - 1)
    places = [_SIDE + i * step for i in range(len(axes))]
    drawn = [_line(line, axes, places) for line in sorted(lines, key=lambda line: line.best)]
    scales = [_axis(axis, x) for axis, x in zip(axes, places, strict=True)]
    return element(
        "svg",
        *drawn,
        *scales,
        class_="parallel",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"parallel coordinates of {len(lines)} trials",
    )


def _line(line: Line, axes: Sequence[Axis], places: Sequence[float]) -> Markup:
    points = [
        f"{x:g},{_y(place):g}"
        for axis, x in zip(axes, places, strict=True)
        if (place := axis.place(line.values.get(axis.name, ""))) is not None
    ]
    shown = ", ".join(f"{key} = {value}" for key, value in line.values.items())
    return element(
        "polyline",
        element("title", f"{line.name}: {shown}"),
        points=" ".join(points),
        class_="trial best" if line.best else "trial",
    )


def _axis(axis: Axis, x: float) -> Markup:
    top, bottom = (
        (
            axis.categories[-1] if axis.categories else "",
            axis.categories[0] if axis.categories else "",
        )
        if axis.categories or axis.high < axis.low
        else (f"{axis.high:.4g}", f"{axis.low:.4g}")
    )
    return element(
        "g",
        element("line", x1=f"{x:g}", x2=f"{x:g}", y1=_TOP, y2=_HEIGHT - _BOTTOM),
        element("text", axis.name, x=f"{x:g}", y=12, class_="name"),
        element("text", top, x=f"{x:g}", y=_TOP - 6),
        element("text", bottom, x=f"{x:g}", y=_HEIGHT - _BOTTOM + 16),
        class_="axis",
    )


def _y(place: float) -> float:
    return _HEIGHT - _BOTTOM - place * (_HEIGHT - _TOP - _BOTTOM)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
