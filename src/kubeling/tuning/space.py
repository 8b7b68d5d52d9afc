"""The search space: parameters with numbers read, and values written back as text.

Steps are counted in decimal arithmetic, so ``0.1`` to ``0.3`` in steps of ``0.1`` has exactly
three values and they are written as a person would.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property
from statistics import NormalDist
from typing import Any, Final, Literal

from kubeling.kube.objects import Obj

__all__ = [
    "DISTRIBUTIONS",
    "Assignments",
    "Categories",
    "Dimension",
    "Interval",
    "SpaceError",
    "dimension",
    "dimensions",
]

Assignments = dict[str, str]
_NORMAL: Final = NormalDist()
_DEVIATIONS: Final = 3.0
"""Normal distributions are centred, with the bounds three deviations out."""

Distribution = Literal["uniform", "logUniform", "normal", "logNormal"]
DISTRIBUTIONS: Final = ("uniform", "logUniform", "normal", "logNormal")


class SpaceError(ValueError):
    """A bound, step or value cannot be read; ``field`` says which (``min``, ``list`` …)."""

    def __init__(self, field: str, message: str, value: Any = None) -> None:
        super().__init__(message)
        self.field = field
        self.value = value


@dataclass(frozen=True)
class Interval:
    """Numbers between two bounds, both included."""

    name: str
    low: Decimal
    high: Decimal
    step: Decimal | None
    integer: bool
    distribution: Distribution = "uniform"

    @property
    def logarithmic(self) -> bool:
        return self.distribution in ("logUniform", "logNormal")

    @property
    def count(self) -> int | None:
        """How many values there are; ``None`` where they are continuous."""
        if self.low == self.high:
            return 1
        if self.step is None:
            return None
        return int((self.high - self.low) / self.step) + 1

    def nth(self, index: int) -> str:
        """The value after ``index`` steps."""
        return self.format(self.low + (self.step or Decimal(0)) * index)

    def nearest(self, value: float) -> str:
        """The allowed value closest to a number."""
        bounded = min(max(value, float(self.low)), float(self.high))
        if self.step is None:
            return self.format(bounded)
        index = round((bounded - float(self.low)) / float(self.step))
        return self.nth(min(index, (self.count or 1) - 1))

    def at(self, share: float) -> str:
        """The value that a share (0 to 1) of the parameter's distribution lies below."""
        if self.distribution == "uniform" and self.count is not None:
            return self.nth(min(int(share * self.count), self.count - 1))
        low, high = self._ends
        value = low + self._quantile(min(max(share, 0.0), 1.0)) * (high - low)
        return self.nearest(math.exp(value) if self.logarithmic else value)

    def share(self, value: float) -> float:
        """The share of the distribution below a value: the inverse of :meth:`at`."""
        if self.distribution == "uniform" and self.count is not None:
            steps = (value - float(self.low)) / float(self.step or 1)
            return min(max((steps + 0.5) / self.count, 0.0), 1.0)
        low, high = self._ends
        if low == high:
            return 0.5
        place = math.log(value) if self.logarithmic and value > 0 else value
        return self._below(min(max((place - low) / (high - low), 0.0), 1.0))

    @cached_property
    def _ends(self) -> tuple[float, float]:
        """The bounds on the scale searched on, where steps reach half a step beyond them."""
        half = float(self.step or 0) / 2
        low, high = float(self.low) - half, float(self.high) + half
        if not self.logarithmic:
            return low, high
        return math.log(low if low > 0 else float(self.low)), math.log(high)

    def _quantile(self, share: float) -> float:
        if not self.distribution.lower().endswith("normal"):
            return share
        tail = _NORMAL.cdf(-_DEVIATIONS)
        return 0.5 + _NORMAL.inv_cdf(tail + share * (1 - 2 * tail)) / (2 * _DEVIATIONS)

    def _below(self, place: float) -> float:
        if not self.distribution.lower().endswith("normal"):
            return place
        tail = _NORMAL.cdf(-_DEVIATIONS)
        return (_NORMAL.cdf((place - 0.5) * 2 * _DEVIATIONS) - tail) / (1 - 2 * tail)

    def format(self, value: Decimal | float) -> str:
        """The value as text."""
        if self.integer:
            return str(int(value))
        if isinstance(value, Decimal):
            text = format(value.normalize(), "f")
            return text if "." in text else f"{text}.0"
        return repr(float(value))


@dataclass(frozen=True)
class Categories:
    """A list of values; ``ordered`` where they are numbers."""

    name: str
    values: tuple[str, ...]
    ordered: bool

    @property
    def count(self) -> int:
        return len(self.values)

    def nth(self, index: int) -> str:
        return self.values[index]

    def at(self, share: float) -> str:
        """The value at a share (0 to 1) of the list, by size where they have one."""
        return self.sorted_values[min(int(share * self.count), self.count - 1)]

    def share(self, value: str) -> float:
        """The inverse of :meth:`at`; the middle for a value that is not listed."""
        if value not in self.places:
            return 0.5
        return (self.places[value] + 0.5) / self.count

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each of the sorted values stands."""
        return {value: place for place, value in enumerate(self.sorted_values)}

    @cached_property
    def sorted_values(self) -> tuple[str, ...]:
        """The values by size where they have one, else as listed."""
        return tuple(sorted(self.values, key=float)) if self.ordered else self.values


Dimension = Interval | Categories


def dimensions(parameters: Sequence[Obj]) -> list[Dimension]:
    """The search space of an Experiment; raises :class:`SpaceError`."""
    return [dimension(parameter) for parameter in parameters]


def dimension(parameter: Obj) -> Dimension:
    """One dimension; raises :class:`SpaceError`."""
    space: Mapping[str, Any] = parameter.get("feasibleSpace") or {}
    match parameter.get("parameterType"):
        case "int" | "double" as kind:
            return _interval(parameter["name"], kind == "int", space)
        case "categorical" | "discrete" as kind:
            return _categories(parameter["name"], kind == "discrete", space)
        case other:
            raise SpaceError("parameterType", "must be int, double, discrete or categorical", other)


def _interval(name: str, integer: bool, space: Mapping[str, Any]) -> Interval:
    low, high = _number(space, "min", integer), _number(space, "max", integer)
    if low > high:
        raise SpaceError("max", f"must not be less than min ({space['min']})", space["max"])
    step = _number(space, "step", integer) if space.get("step") else None
    if step is not None and step <= 0:
        raise SpaceError("step", "must be greater than 0", space["step"])
    if integer and step is None:
        step = Decimal(1)
    distribution: Any = space.get("distribution") or "uniform"
    if distribution not in DISTRIBUTIONS:
        raise SpaceError("distribution", f"must be one of {', '.join(DISTRIBUTIONS)}", distribution)
    if distribution in ("logUniform", "logNormal") and low <= 0:
        raise SpaceError("min", f"must be greater than 0 for {distribution}", space["min"])
    return Interval(name, low, high, step, integer, distribution)


def _number(space: Mapping[str, Any], field: str, integer: bool) -> Decimal:
    text = space.get(field)
    if text in (None, ""):
        raise SpaceError(field, "give the bound as text")
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        raise SpaceError(field, "must be a number", text) from None
    if not value.is_finite():
        raise SpaceError(field, "must be finite", text)
    if integer and value != value.to_integral_value():
        raise SpaceError(field, "must be a whole number for an int parameter", text)
    return value


def _categories(name: str, discrete: bool, space: Mapping[str, Any]) -> Categories:
    values = tuple(str(value) for value in space.get("list") or ())
    if not values:
        raise SpaceError("list", "list at least one value")
    if len(set(values)) != len(values):
        raise SpaceError("list", "values must not repeat", list(values))
    if discrete:
        for value in values:
            if not _is_number(value):
                raise SpaceError("list", "discrete values must be numbers", value)
    return Categories(name, values, discrete)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
