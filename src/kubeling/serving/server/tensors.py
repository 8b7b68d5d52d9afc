"""Requests to arrays and back, in both protocols' JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kubeling.serving.server.errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = [
    "datatype_of",
    "instances_to_array",
    "rows_of",
    "tensor_to_array",
    "to_json",
    "to_tensor",
]

_DTYPES: Final[Mapping[str, str]] = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
_DATATYPES: Final = {dtype: datatype for datatype, dtype in _DTYPES.items()}


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


def instances_to_array(rows: Sequence[Any], columns: Sequence[str] | None = None) -> Array:
    """Rows as an array; rows that are objects are ordered by the model's column names."""
    if rows and isinstance(rows[0], dict):
        rows = _ordered(rows, columns)
    try:
        array = np.asarray(rows)
    except ValueError:
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


def tensor_to_array(tensor: Any) -> Array:
    """One V2 input as an array of its shape and type."""
    if not isinstance(tensor, dict) or not {"name", "shape", "datatype"} <= tensor.keys():
        raise InvalidInput("every input needs name, shape, datatype and data")
    name, shape = tensor["name"], tensor["shape"]
    dtype = _DTYPES.get(tensor["datatype"])
    if dtype is None:
        raise InvalidInput(
            f'input "{name}": unknown datatype {tensor["datatype"]}; known: {", ".join(_DTYPES)}'
        )
    if "data" not in tensor:
        raise InvalidInput(f'input "{name}" has no data (binary tensors are not supported)')
    try:
        array = np.asarray(tensor["data"], dtype=dtype)
        return array.reshape(shape)
    except (ValueError, TypeError, OverflowError):
        raise InvalidInput(
            f'input "{name}": data does not fit shape {shape} and datatype {tensor["datatype"]}'
        ) from None


def datatype_of(array: Array) -> str:
    """The V2 name of an array's type."""
    return _DATATYPES.get(array.dtype.name, "BYTES")


def to_json(value: Any) -> Any:
    """A prediction as JSON values."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def to_tensor(name: str, array: Array) -> dict[str, Any]:
    """An array as a V2 output."""
    return {
        "name": name,
        "shape": list(array.shape),
        "datatype": datatype_of(array),
        "data": to_json(array.ravel()),
    }
