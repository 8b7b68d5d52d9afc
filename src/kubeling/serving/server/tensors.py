"""Tensors of the Open Inference Protocol as arrays, and back, in JSON and in bytes.

A request is taken at its word: data that would have to be bent to fit the datatype it names (a
fraction for an integer, text for a number, 300 for a byte) is refused, where numpy would truncate,
parse or wrap it. In bytes, tensors are little-endian and in row-major order; an element of BYTES
follows its length, as 4 bytes.
"""

from __future__ import annotations

import datetime as dt
import math
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kubeling.serving.server.errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = [
    "DATATYPES",
    "array_of_bytes",
    "array_of_json",
    "bytes_of_array",
    "datatype_of",
    "json_of_array",
    "to_json",
]

DATATYPES: Final[Mapping[str, str]] = {
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
"""The protocol's datatypes, and numpy's names for them."""

_DTYPES: Final = {datatype: np.dtype(name) for datatype, name in DATATYPES.items()}
_NAMES: Final = {
    dtype.num: next((d for d, known in _DTYPES.items() if known == dtype), "BYTES")
    for dtype in map(np.dtype, np.typecodes["All"])
}
"""By numpy's numbers for its types: some have two, and to ask for a name takes long."""
_ROUNDED: Final = 2.0**53
"""From here on a float is not every integer."""
_LENGTH: Final = struct.Struct("<I")
_ARRAYS: Final = (np.ndarray, np.generic)


def datatype_of(array: Array) -> str:
    """The protocol's name for an array's type."""
    return _NAMES.get(array.dtype.num, "BYTES")


def array_of_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> Array:
    """``data`` of a request, nested or flat; raises :class:`InvalidInput`."""
    dtype = _dtype(name, datatype)
    _check_shape(name, shape)
    if isinstance(data, np.ndarray):
        array = data
    elif datatype == "BYTES":
        array = _texts(name, data)
    else:
        array = _numbers(name, datatype, dtype, data)
    return _shaped(name, datatype, shape, array)


def array_of_bytes(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> Array:
    """A tensor's bytes; raises :class:`InvalidInput`."""
    dtype = _dtype(name, datatype)
    _check_shape(name, shape)
    if datatype == "BYTES":
        return _shaped(name, datatype, shape, _elements(name, raw))
    wanted = math.prod(shape) * dtype.itemsize
    if len(raw) != wanted:
        raise InvalidInput(
            f'input "{name}": shape {list(shape)} of {datatype} is {wanted} bytes, '
            f"but {len(raw)} were sent"
        )
    return _reshaped(name, shape, np.frombuffer(raw, dtype.newbyteorder("<")))


def bytes_of_array(array: Array) -> bytes:
    """An array as the protocol's bytes."""
    if datatype_of(array) != "BYTES":
        return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    parts = []
    for element in array.ravel().tolist():
        encoded = element if isinstance(element, bytes) else str(element).encode()
        parts += [_LENGTH.pack(len(encoded)), encoded]
    return b"".join(parts)


def json_of_array(array: Array) -> list[Any]:
    """An array's elements, flat, as JSON values; raises :class:`InvalidInput`."""
    found: list[Any] = array.ravel().tolist()
    if datatype_of(array) != "BYTES":
        return found
    try:
        return [_element(e) for e in found]
    except UnicodeDecodeError:
        raise InvalidInput(
            "the model answers with bytes that are no UTF-8 text, which JSON cannot hold; "
            'ask for binary output: {"parameters": {"binary_data_output": true}}'
        ) from None


def _element(value: Any) -> Any:
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return value.decode() if isinstance(value, bytes) else to_json(value)


def to_json(value: Any) -> Any:
    """A prediction as JSON values."""
    if isinstance(value, _ARRAYS):
        return to_json(value.tolist()) if value.dtype == object else value.tolist()
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _dtype(name: str, datatype: str) -> np.dtype[Any]:
    dtype = _DTYPES.get(datatype)
    if dtype is None:
        raise InvalidInput(
            f'input "{name}": unknown datatype {datatype}; known: {", ".join(DATATYPES)}'
        )
    return dtype


def _check_shape(name: str, shape: Sequence[int]) -> None:
    for size in shape:
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise InvalidInput(f'input "{name}": shape {list(shape)} is not a list of sizes')


def _shaped(name: str, datatype: str, shape: Sequence[int], array: Array) -> Array:
    wanted = math.prod(shape)
    if array.size != wanted:
        raise InvalidInput(
            f'input "{name}": data does not fit shape {list(shape)} and datatype {datatype}: '
            f"{array.size} elements were sent, {wanted} are needed"
        )
    return _reshaped(name, shape, array)


def _reshaped(name: str, shape: Sequence[int], array: Array) -> Array:
    """Arrays have so many dimensions at most, and none too large, not even where they are empty."""
    try:
        return array.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f'input "{name}": no array has this shape: {error}') from None


def _numbers(name: str, datatype: str, dtype: np.dtype[Any], data: Any) -> Array:
    try:
        found = np.asarray(data)
        if found.dtype is dtype:
            return found
        if found.size == 0:
            return found.astype(dtype)
        if dtype.kind in "iu" and found.dtype.kind == "f":
            found = _exact(data, found)
        if _holds(dtype, found):
            with np.errstate(over="ignore"):
                return found.astype(dtype)
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(
        f'input "{name}": data does not fit datatype {datatype}, or is nested unevenly'
    )


def _exact(data: Any, found: Array) -> Array:
    """The numbers as they are, where numpy rounds integers that none of its types holds alike."""
    return np.asarray(data, dtype=object) if np.abs(found).max() >= _ROUNDED else found


def _holds(dtype: np.dtype[Any], found: Array) -> bool:
    """Whether these numbers are numbers of that type."""
    kind = dtype.kind
    if kind == "f":
        return found.dtype.kind in "iufb"
    if kind == "b":
        return found.dtype.kind == "b" or (found.dtype.kind in "iu" and _within(found, 0, 1))
    if found.dtype.kind == "f" and not bool(np.all(found == np.trunc(found))):
        return False
    limits = np.iinfo(dtype)
    whole = found.dtype.kind in "iufb" or all(type(number) is int for number in found.flat)
    return whole and _within(found, limits.min, limits.max)


def _within(found: Array, least: int, most: int) -> bool:
    return bool(least <= found.min() and found.max() <= most)


def _texts(name: str, data: Any) -> Array:
    flat = _flattened(data)
    if any(not isinstance(element, str | bytes) for element in flat):
        raise InvalidInput(f'input "{name}": data of datatype BYTES is a list of strings')
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    return array


def _flattened(data: Any) -> list[Any]:
    """The elements in their order, however deep the lists are; a call for each could be many."""
    found: list[Any] = []
    open_lists = [iter((data,))]
    while open_lists:
        for element in open_lists[-1]:
            if isinstance(element, list | tuple):
                open_lists.append(iter(element))
                break
            found.append(element)
        else:
            open_lists.pop()
    return found


def _elements(name: str, raw: bytes) -> Array:
    found, place = [], 0
    while place < len(raw):
        end = place + _LENGTH.size
        if end <= len(raw):
            end += _LENGTH.unpack_from(raw, place)[0]
        if end > len(raw) or place + _LENGTH.size > len(raw):
            raise InvalidInput(
                f'input "{name}": the bytes end within an element; each follows its length, '
                "4 bytes little-endian"
            )
        found.append(raw[place + _LENGTH.size : end])
        place = end
    array = np.empty(len(found), dtype=object)
    array[:] = found
    return array
