"""Kubernetes quantities: ``100m``, ``1.5``, ``2Gi``, ``1e3``, read and written exactly."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Final

__all__ = ["Quantity", "canonical_quantity", "format_quantity", "parse_quantity"]

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
_MOST: Final = Decimal(2**63 - 1)
_DIGITS: Final = 4


def parse_quantity(text: str | int | float) -> Quantity:
    """The value, at most that of 63 bits; raises :class:`ValueError` for what is no quantity."""
    match = _SHAPE.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(f"{text!r} is not a quantity; write 500m, 2, 1.5 or 128Mi")
    number, suffix, exponent = match.groups()
    value = Decimal(number)
    if exponent is not None:
        value = value.scaleb(int(exponent) if len(exponent) <= _DIGITS else _extreme(exponent))
    else:
        scale = _DECIMAL.get(suffix or "")
        value *= scale if scale is not None else _BINARY[suffix]
    return max(min(value, _MOST), -_MOST)


def _extreme(exponent: str) -> int:
    """An exponent that no longer makes a difference."""
    return -(10**_DIGITS) if exponent.startswith("-") else 10**_DIGITS


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


@lru_cache(maxsize=4096)
def canonical_quantity(text: str | int | float) -> str:
    """The spelling in which a cluster gives the quantity back; ``0.5`` is ``500m``.

    The style stays: powers of two from 1024 on, exponents where one was used. Raises
    :class:`ValueError` for anything that is not a quantity. Source: ``resource.Quantity``.
    """
    value = parse_quantity(text)
    match = _SHAPE.fullmatch(str(text).strip())
    suffix, exponent = match.group(2, 3) if match else (None, None)
    if suffix in _BINARY and abs(value) >= 1024:
        return format_quantity(value.to_integral_value(ROUND_CEILING), binary=True)
    if exponent is None:
        return format_quantity(value)
    return _with_exponent(value)


def _with_exponent(value: Quantity) -> str:
    for power in range(18, -10, -3):
        scaled = value.scaleb(-power)
        if value and scaled == scaled.to_integral_value():
            return f"{int(scaled)}e{power}" if power else str(int(scaled))
    return format_quantity(value)
