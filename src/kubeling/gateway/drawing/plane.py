"""Two scales and the frame they span: what every chart with an x and a y is drawn into."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from kubeling.gateway.drawing.svg import element

__all__ = ["Plane", "Scale", "number"]

_LEFT: Final = 64
_RIGHT: Final = 16
_TOP: Final = 10
_BOTTOM: Final = 44
_STEPS: Final = (1, 2, 2.5, 5, 10)
_LONGEST: Final = 14


def number(text: object) -> float | None:
    """A finite number; ``None`` for what is none, infinity and NaN included."""
    try:
        found = float(str(text))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


@dataclass(frozen=True, slots=True)
class Scale:
    """From ``low`` to ``high``, by powers of ten if ``log``; or a place for each category."""

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    categories: tuple[str, ...] = ()
    whole: bool = False
    """Whether only whole numbers are marked."""

    @classmethod
    def of(cls, values: Iterable[float], *, log: bool = False, whole: bool = False) -> Scale:
        """One on which all the values lie, with a little room at both ends."""
        found = [value for value in values if not log or value > 0]
        if not found:
            return cls()
        low, high = min(found), max(found)
        if log:
            room = (high / low) ** 0.04 if high > low else 2.0
            return cls(low / room, high * room, log=True, whole=whole)
        room = (high - low) * 0.04 if high > low else abs(high) * 0.1 or 1.0
        return cls(low - room, high + room, whole=whole)

    @classmethod
    def of_categories(cls, values: Sequence[str]) -> Scale:
        """One with the values side by side."""
        return cls(categories=tuple(values))

    def place(self, value: float | str) -> float | None:
        """Where between 0 and 1 a value lies; ``None`` if it has no place."""
        if self.categories:
            if str(value) not in self.categories:
                return None
            return (self.categories.index(str(value)) + 0.5) / len(self.categories)
        found = number(value)
        if found is None or (self.log and found <= 0):
            return None
        if self.high <= self.low:
            return 0.5
        if self.log:
            return math.log(found / self.low) / math.log(self.high / self.low)
        return (found - self.low) / (self.high - self.low)

    def at(self, place: float) -> float:
        """The number that lies at a place between 0 and 1."""
        if self.log:
            return self.low * math.pow(self.high / self.low, place)
        return self.low + place * (self.high - self.low)

    def marks(self, most: int = 6) -> list[tuple[float, str]]:
        """Places with what is written there: round numbers, or the categories."""
        if self.categories:
            return [(self.place(name) or 0.0, _cut(name)) for name in self.categories]
        values = _powers(self.low, self.high, most) if self.log else []
        if len(values) < 2:
            values = _round_values(self.low, self.high, most)
        if self.whole:
            values = [value for value in values if value == round(value)]
        found = [(self.place(value), f"{value:.6g}") for value in values]
        return [(place, text) for place, text in found if place is not None]


def _powers(low: float, high: float, most: int) -> list[float]:
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    step = max(1, math.ceil((last - first + 1) / most))
    return [10.0**power for power in range(first, last + 1, step)]


def _round_values(low: float, high: float, most: int) -> list[float]:
    if high <= low:
        return [low]
    rough = (high - low) / most
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * s for s in _STEPS if size * s >= rough * (1 - 1e-9))
    first = math.ceil(low / step)
    # Multiples of the step, so that no sum of roundings shows.
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


@dataclass(frozen=True, slots=True)
class Plane:
    """A drawing of a size, and where numbers are on it."""

    x: Scale
    y: Scale
    width: float = 720
    height: float = 300
    below: float = 0
    """Room under the chart, for a legend."""

    @property
    def left(self) -> float:
        return _LEFT

    @property
    def right(self) -> float:
        return self.width - _RIGHT

    @property
    def bottom(self) -> float:
        return self.height - _BOTTOM

    def point(self, x: float | str, y: float | str) -> tuple[float, float] | None:
        """Where a pair lies; ``None`` if it has no place."""
        across, up = self.x.place(x), self.y.place(y)
        if across is None or up is None:
            return None
        return self.across(across), self.up(up)

    def across(self, place: float) -> float:
        return _LEFT + place * (self.width - _LEFT - _RIGHT)

    def up(self, place: float) -> float:
        return self.height - _BOTTOM - place * (self.height - _TOP - _BOTTOM)

    def frame(self, x_name: str, y_name: str) -> Markup:
        """Lines, marks and names."""
        parts = [
            element(
                "rect",
                x=_LEFT,
                y=_TOP,
                width=f"{self.right - _LEFT:g}",
                height=f"{self.bottom - _TOP:g}",
                class_="ground",
            )
        ]
        for place, text in self.x.marks(7):
            x = f"{self.across(place):.1f}"
            parts.append(element("line", x1=x, x2=x, y1=_TOP, y2=self.bottom, class_="grid"))
            parts.append(element("text", text, x=x, y=f"{self.bottom + 16:g}", class_="tick"))
        for place, text in self.y.marks(5):
            y = self.up(place)
            parts.append(
                element(
                    "line", x1=_LEFT, x2=self.right, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid"
                )
            )
            parts.append(element("text", text, x=_LEFT - 6, y=f"{y + 4:.1f}", class_="tick aside"))
        middle = (_LEFT + self.right) / 2
        across = (_TOP + self.bottom) / 2
        parts += [
            element("text", x_name, x=f"{middle:g}", y=f"{self.bottom + 34:g}", class_="name"),
            element("text", y_name, x=f"{-across:g}", y=12, transform="rotate(-90)", class_="name"),
        ]
        return Markup("").join(parts)

    def draw(self, kind: str, label: str, *parts: str, **more: Any) -> Markup:
        """The whole as an SVG element."""
        return element(
            "svg",
            *parts,
            class_=f"chart {kind}",
            viewBox=f"0 0 {self.width:g} {self.height + self.below:g}",
            role="img",
            aria_label=label,
            **more,
        )
