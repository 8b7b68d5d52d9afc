"""Whether a twin says what its model says, and which of its outputs does."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["ABSOLUTE", "RELATIVE", "Answer", "Found", "equal", "fitting"]

ABSOLUTE: Final = 1e-5
RELATIVE: Final = 1e-4
"""How far numbers may lie apart, as ONNX counts in 32 bits; labels must be the same."""


_dtype = functools.cache(np.dtype)
"""A type by its name, which takes long to read."""


class Answer(msgspec.Struct, frozen=True):
    """Where a twin's output has what its model answers, and of which type that is."""

    output: str
    column: int | None
    dtype: str

    def of(self, array: Array) -> Array:
        """The model's answer, from the twin's output."""
        found = array if self.column is None else array[:, self.column]
        return found if self.dtype == "O" else found.astype(_dtype(self.dtype), copy=False)


class Found(msgspec.Struct):
    """The end of a conversion: the answer's place in the twin, or why there is no twin."""

    answer: Answer | None = None
    rows: int = 0
    reason: str = ""


def fitting(outputs: Mapping[str, Array], wanted: Array) -> Answer | None:
    """The output that equals what the model answered; none if none does."""
    dtype = "O" if wanted.dtype.kind in "OUS" else wanted.dtype.str
    for name, array in outputs.items():
        for column in _columns(array):
            answer = Answer(name, column, dtype)
            try:
                found = answer.of(array)
            except (ValueError, TypeError):
                continue
            if equal(found, wanted):
                return answer
    return None


def equal(found: Array, wanted: Array) -> bool:
    """Labels equal, numbers within the tolerance."""
    if found.shape != wanted.shape:
        return False
    if wanted.dtype.kind != "f":
        return bool((found == wanted).all())
    largest = float(np.abs(wanted).max(initial=0.0))
    within = ABSOLUTE * max(1.0, largest)
    return bool(np.allclose(found, wanted, rtol=RELATIVE, atol=within))


def _columns(array: Array) -> Iterator[int | None]:
    yield None
    if array.ndim == 2 and array.shape[1] <= 2:
        yield array.shape[1] - 1
