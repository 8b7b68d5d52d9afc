"""Sprig's functions of numbers."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from functools import reduce
from typing import Any, Final

from kubeling.workflows.expressions.errors import ExpressionError
from kubeling.workflows.expressions.sprig.casts import to_float, to_int

__all__ = ["FUNCTIONS"]


def _div(dividend: Any, divisor: Any) -> int:
    """Towards zero, as Go divides."""
    below = to_int(divisor)
    if below == 0:
        raise ExpressionError("runtime error: integer divide by zero")
    above = to_int(dividend)
    quotient = abs(above) // abs(below)
    return quotient if (above < 0) == (below < 0) else -quotient


def _mod(dividend: Any, divisor: Any) -> int:
    return to_int(dividend) - to_int(divisor) * _div(dividend, divisor)


def _decimals(act: Callable[[Decimal, Decimal], Decimal]) -> Callable[..., float]:
    def run(*values: Any) -> float:
        return float(reduce(act, (Decimal(repr(to_float(value))) for value in values)))

    return run


def _round(value: Any, places: Any, up_from: Any = 0.5) -> float:
    power = Decimal(10) ** to_int(places)
    scaled = Decimal(repr(to_float(value))) * power
    if to_float(up_from) == 0.5:
        rounded = scaled.to_integral_value(ROUND_HALF_UP)
    else:
        floor = scaled.to_integral_value(ROUND_FLOOR)
        rounded = floor + (1 if scaled - floor >= Decimal(repr(to_float(up_from))) else 0)
    return float(rounded / power)


def _until(count: Any) -> list[int]:
    end = to_int(count)
    return _steps(0, end, -1 if end < 0 else 1)


def _steps(start: Any, stop: Any, step: Any) -> list[int]:
    begin, end, width = to_int(start), to_int(stop), to_int(step)
    if width == 0 or (end < begin) != (width < 0):
        return []
    return list(range(begin, end, width))


def _seq(*given: Any) -> str:
    numbers = [to_int(one) for one in given]
    match numbers:
        case [end]:
            begin, width = 1, -1 if end < 1 else 1
        case [begin, end]:
            width = -1 if end < begin else 1
        case [begin, width, end]:
            pass
        case _:
            return ""
    if width == 0 or (end < begin and width > 0):
        return ""
    found = range(begin, end + (1 if width > 0 else -1), width)
    return " ".join(map(str, found))


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "atoi": to_int,
    "int": to_int,
    "int64": to_int,
    "float64": to_float,
    "toDecimal": lambda value: int(str(value), 8) if str(value).isdigit() else 0,
    "seq": _seq,
    "until": _until,
    "untilStep": _steps,
    "add1": lambda value: to_int(value) + 1,
    "add": lambda *values: sum(map(to_int, values)),
    "sub": lambda a, b: to_int(a) - to_int(b),
    "div": _div,
    "mod": _mod,
    "mul": lambda *values: math.prod(map(to_int, values)),
    "randInt": lambda low, high: random.randrange(to_int(low), to_int(high)),
    "add1f": lambda value: _decimals(lambda a, b: a + b)(value, 1),
    "addf": _decimals(lambda a, b: a + b),
    "subf": _decimals(lambda a, b: a - b),
    "divf": _decimals(lambda a, b: a / b),
    "mulf": _decimals(lambda a, b: a * b),
    "biggest": lambda *values: max(map(to_int, values)),
    "max": lambda *values: max(map(to_int, values)),
    "min": lambda *values: min(map(to_int, values)),
    "maxf": lambda *values: max(map(to_float, values)),
    "minf": lambda *values: min(map(to_float, values)),
    "ceil": lambda value: float(math.ceil(to_float(value))),
    "floor": lambda value: float(math.floor(to_float(value))),
    "round": _round,
}
