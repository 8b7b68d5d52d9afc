"""Rows of the V1 protocol as arrays."""

from __future__ import annotations

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
    if rows and isinstance(rows[0], dict):
        rows = _ordered(rows, columns)
    try:
        array = np.asarray(rows)
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
    try:
        return [[row[column] for column in columns] for row in rows]
    except (KeyError, TypeError):
        raise InvalidInput(
            f"every row needs exactly these features: {', '.join(columns)}"
        ) from None
