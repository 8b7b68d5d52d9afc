"""What ``kserve.utils.numpy_codec`` has: the protocol's datatypes and numpy's, by each other."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kubeling.serving.server.tensors import DATATYPES

__all__ = ["from_np_dtype", "to_np_dtype"]

_TYPES: Final = {datatype: np.dtype(name) for datatype, name in DATATYPES.items()}
_NAMES: Final = {dtype: datatype for datatype, dtype in _TYPES.items()}
_TEXTS: Final = "OSUM"
"""Kinds of objects, bytes, texts and times, all of which travel as BYTES."""


def to_np_dtype(dtype: str) -> type[np.generic] | None:
    """Numpy's type for a datatype."""
    found = _TYPES.get(dtype)
    return None if found is None else found.type


def from_np_dtype(np_dtype: Any) -> str | None:
    """The datatype for a type of numpy's; none for complex numbers and spans of time."""
    dtype = np.dtype(np_dtype)
    return "BYTES" if dtype.kind in _TEXTS else _NAMES.get(dtype)
