"""Rows of the V1 protocol as arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kubeling.serving.server.errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["array_of_rows", "joined_rows", "pieces", "rows_of"]

_LISTS: Final = {list}
_NUMBERS: Final = {float, int}
_WITH_GAPS: Final = {float, int, bool, str, type(None)}
_MANY: Final = 4096
"""Rows that are read at once, at most; the more there are, the less is won."""


def rows_of(body: Any) -> list[Any]:
    """The rows of a V1 request."""
    if not isinstance(body, dict):
        raise InvalidInput('expected a JSON object such as {"instances": [[1.0, 2.0]]}')
    rows = body.get("instances", body.get("inputs"))
    if rows is None:
        raise InvalidInput('expected the key "instances" (or "inputs") with a list of rows')
    if not isinstance(rows, list):
        raise InvalidInput(f'"instances" must be a list of rows, not {type(rows).__name__}')
    return rows


def array_of_rows(rows: Sequence[Any], columns: Sequence[str] | None = None) -> Array:
    """Rows as an array; rows that are objects are ordered by the model's column names."""
    if rows and (isinstance(rows[0], dict) or _is_table(rows[0])):
        rows = _ordered(rows, columns)
    try:
        array = np.asarray(rows)
        if array.dtype.kind == "U" and array.ndim == 2 and not all(map(_is_text, rows)):
            # Numbers among texts stay numbers.
            return np.array(rows, dtype=object)
    except (ValueError, OverflowError):
        raise InvalidInput("the rows differ in length; every row needs the same features") from None
    if array.dtype == object and array.ndim == 2:
        array = _with_gaps(array)
    elif array.dtype == object:
        raise InvalidInput("the rows hold values that are neither numbers nor text, or none at all")
    return array


def _with_gaps(array: Array) -> Array:
    """Rows of which some values are missing (null): NaN, as libraries have it."""
    kinds = _kinds(array.flat)
    if not kinds <= _WITH_GAPS:
        raise InvalidInput("the rows hold values that are neither numbers nor text, or none at all")
    if str not in kinds:
        try:
            return array.astype(float)
        except OverflowError as error:
            raise InvalidInput(f"the rows hold a number that is too large: {error}") from None
    filled = array.copy()
    filled[[[value is None for value in row] for row in array]] = math.nan
    return filled


def joined_rows(bodies: Sequence[Any], width: int | None) -> tuple[Array, list[int]] | None:
    """The rows of several requests as one array, and how many each has.

    None where any is not plainly rows of so many numbers, or would be an array of another type by
    itself: whoever sent integers is answered as such, whatever others sent.
    """
    try:
        each = [body["instances"] for body in bodies]
    except (KeyError, TypeError):
        return None
    if _kinds(each) != _LISTS:
        return None
    sizes = list(map(len, each))
    joined = each[0] if len(each) == 1 else list(chain.from_iterable(each))
    if not 0 < len(joined) <= _MANY or 0 in sizes or _kinds(joined) != _LISTS:
        return None
    kinds = _kinds(chain.from_iterable(joined))
    if not kinds <= _NUMBERS or (len(kinds) > 1 and not all(map(_has_a_fraction, each))):
        return None
    try:
        array = np.asarray(joined)
    except (ValueError, OverflowError):
        return None
    as_alone = array.ndim == 2 and array.dtype.kind == ("f" if float in kinds else "i")
    return (array, sizes) if as_alone and width in (None, array.shape[1]) else None


def pieces(values: list[Any], sizes: Sequence[int]) -> list[list[Any]]:
    """A list in parts of these sizes."""
    found, start = [], 0
    for size in sizes:
        found.append(values[start : start + size])
        start += size
    return found


def _kinds(values: Iterable[Any]) -> set[type]:
    return set(map(type, values))


def _has_a_fraction(rows: Sequence[Any]) -> bool:
    return float in map(type, chain.from_iterable(rows))


def _ordered(rows: Sequence[Any], columns: Sequence[str] | None) -> list[list[Any]]:
    if not columns:
        raise InvalidInput(
            "rows are objects, but the model names no features: send lists of values"
        )
    return [row for instance in rows for row in _rows_of_instance(instance, columns)]


def _rows_of_instance(instance: Any, columns: Sequence[str]) -> list[list[Any]]:
    """One row or, as upstream reads a table of pandas, several.

    A table is an object of columns (lists, or objects by index) or a list of objects, of which
    each is a row; what a row of a list leaves out is missing.
    """
    if _is_table(instance):
        if not all(isinstance(row, dict) and row.keys() & set(columns) for row in instance):
            raise InvalidInput(f"every row needs some of these features: {', '.join(columns)}")
        return [[row.get(column, math.nan) for column in columns] for row in instance]
    try:
        values = [instance[column] for column in columns]
        if all(isinstance(value, list) for value in values):
            return [list(row) for row in zip(*values, strict=True)]
        if all(isinstance(value, dict) for value in values):
            return [[value[index] for value in values] for index in values[0]]
    except (KeyError, TypeError):
        raise InvalidInput(
            f"every row needs exactly these features: {', '.join(columns)}"
        ) from None
    except ValueError:
        raise InvalidInput("the columns differ in length") from None
    return [values]


def _is_table(instance: Any) -> bool:
    return isinstance(instance, list) and bool(instance) and isinstance(instance[0], dict)


def _is_text(row: Any) -> bool:
    return all(isinstance(value, str) for value in row)
