"""Kubernetes' amounts, such as ``100m`` or ``2Gi``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from kubeling.apiserver.cel.errors import EvalError
from kubeling.apiserver.cel.library import Library
from kubeling.apiserver.cel.values import MAX_INT, MIN_INT
from kubeling.kube.quantities import Quantity, parse_quantity

__all__ = ["QUANTITIES"]

QUANTITIES: Final = Library()
define = QUANTITIES.define


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount; equal amounts are equal however they are written."""

    cel_name: ClassVar[str] = "kubernetes.Quantity"
    value: Quantity


@define("quantity(string) -> Quantity")
def _quantity(text: str) -> Amount:
    try:
        return Amount(parse_quantity(text))
    except ValueError:
        raise EvalError(
            "quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        ) from None


@define("isQuantity(string) -> bool")
def _is_quantity(text: str) -> bool:
    try:
        parse_quantity(text)
    except ValueError:
        return False
    return True


def _is_integer(amount: Amount) -> bool:
    value = amount.value
    return MIN_INT <= value <= MAX_INT and value == value.to_integral_value()


@define("Quantity.asInteger() -> int")
def _as_integer(amount: Amount) -> int:
    if not _is_integer(amount):
        raise EvalError("cannot convert value to integer")
    return int(amount.value)


def _compare(left: Amount, right: Amount) -> int:
    return (left.value > right.value) - (left.value < right.value)


define("Quantity.isInteger() -> bool")(_is_integer)
define("Quantity.asApproximateFloat() -> double")(lambda amount: float(amount.value))
define("Quantity.sign() -> int")(lambda amount: (amount.value > 0) - (amount.value < 0))
define("Quantity.add(Quantity) -> Quantity")(lambda left, right: Amount(left.value + right.value))
define("Quantity.add(int) -> Quantity")(lambda left, right: Amount(left.value + right))
define("Quantity.sub(Quantity) -> Quantity")(lambda left, right: Amount(left.value - right.value))
define("Quantity.sub(int) -> Quantity")(lambda left, right: Amount(left.value - right))
define("Quantity.isLessThan(Quantity) -> bool")(lambda left, right: left.value < right.value)
define("Quantity.isGreaterThan(Quantity) -> bool")(lambda left, right: left.value > right.value)
define("Quantity.compareTo(Quantity) -> int")(_compare)
