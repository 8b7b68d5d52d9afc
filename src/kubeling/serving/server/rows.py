"""Rows of the V1 protocol as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kubeling.serving.server.errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["array_of_rows", "rows_of"]


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
    if array.dtype == object:
        raise InvalidInput("the rows hold values that are neither numbers nor text, or none at all")
    return array


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
