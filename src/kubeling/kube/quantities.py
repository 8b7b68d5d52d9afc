"""Kubernetes quantities: ``100m``, ``1.5``, ``2Gi``, ``1e3``, read and written exactly."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import Final

__all__ = ["Quantity", "format_quantity", "parse_quantity"]

Quantity = Decimal

_SHAPE: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d+))?")
_DECIMAL: Final = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "P": Decimal(10**15), "E": Decimal(10**18),
}  # fmt: skip
_BINARY: Final = {
    f"{letter}i": Decimal(1024**power) for power, letter in enumerate("KMGTPE", start=1)
}


def parse_quantity(text: str | int | float) -> Quantity:
    """The exact value; raises :class:`ValueError` for anything that is not a quantity."""
    match = _SHAPE.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(f"{text!r} is not a quantity; write 500m, 2, 1.5 or 128Mi")
    number, suffix, exponent = match.groups()
    value = Decimal(number)
    if exponent is not None:
        return value.scaleb(int(exponent))
    scale = _DECIMAL.get(suffix or "")
    return value * (scale if scale is not None else _BINARY[suffix])


def format_quantity(value: Quantity, *, binary: bool = False) -> str:
    """The canonical spelling: the largest suffix that needs no fraction."""
    if value == 0:
        return "0"
    if binary and value == value.to_integral_value():
        for suffix, scale in reversed(_BINARY.items()):
            if value % scale == 0:
                return f"{value // scale}{suffix}"
        return str(int(value))
    for suffix in ("E", "P", "T", "G", "M", "k", "", "m", "u", "n"):
        scaled = value / _DECIMAL[suffix]
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{suffix}"
    nanos = (value / _DECIMAL["n"]).to_integral_value(ROUND_CEILING)
    return format_quantity(nanos * _DECIMAL["n"])
