"""Models that take and give tensors by name: SavedModels, Keras and Paddle models."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kubeling.serving.server import tensors
from kubeling.serving.server.batching import Runner
from kubeling.serving.server.errors import InferenceError, InvalidInput
from kubeling.serving.server.infer_types import InferOutput, InferRequest, InferResponse
from kubeling.serving.server.quick import Done, QuickModel
from kubeling.serving.server.rows import array_of_rows, rows_of
from kubeling.serving.server.tabular import first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["NamedTensorsModel", "Spec"]


_BYTES: Final = {"b64"}
"""How bytes stand in JSON, for TF Serving: ``{"b64": "…"}``."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A tensor's shape, with -1 for what may be of any size, and its type."""

    shape: tuple[int, ...] | None
    """``None`` where the model does not tell."""
    dtype: np.dtype[Any]

    def describe(self, name: str) -> dict[str, Any]:
        """As metadata says it."""
        datatype = tensors.datatype_of(np.empty(0, self.dtype))
        return {"name": name, "datatype": datatype, "shape": self.sizes}

    @property
    def sizes(self) -> list[int]:
        """The shape as metadata says it."""
        return [-1] if self.shape is None else list(self.shape)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape may be given."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            wanted in (-1, size) for wanted, size in zip(self.shape, shape, strict=True)
        )


class NamedTensorsModel(QuickModel):
    """Answers with one output as it is, with several as an object by name, as TF Serving does.

    Subclasses set ``inputs`` and ``outputs`` when they load, and compute.
    """

    inputs: Mapping[str, Spec]
    outputs: Mapping[str, Spec]
    refusals: tuple[type[Exception], ...] = ()
    """What the library raises for tensors that do not fit, besides ValueError and TypeError."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.runner: Runner = Runner()

    def compute(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for inputs whose names, shapes and types fit."""
        raise NotImplementedError

    def get_input_types(self) -> list[dict[str, Any]]:
        return [spec.describe(name) for name, spec in self.inputs.items()]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [spec.describe(name) for name, spec in self.outputs.items()]

    def answer(self, payload: Any, done: Done) -> None:
        self.runner.run(lambda: self._answer(payload), done)

    def _answer(self, payload: Any) -> Any:
        if isinstance(payload, InferRequest):
            given = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
            outputs = [InferOutput.of(n, array) for n, array in self._run(given).items()]
            return InferResponse(payload.id, self.name, outputs)
        found = self._run(self._from_rows(rows_of(payload)))
        if len(found) == 1:
            return {"predictions": tensors.to_json(next(iter(found.values())))}
        if len({array.shape[:1] or None for array in found.values()}) > 1:
            sizes = ", ".join(f"{name} {list(array.shape)}" for name, array in found.items())
            raise InferenceError(f"the outputs are no rows of one number: {sizes}; ask over V2")
        rows = zip(*found.values(), strict=True)
        return {
            "predictions": [dict(zip(found, map(tensors.to_json, r), strict=True)) for r in rows]
        }

    def _from_rows(self, rows: list[Any]) -> dict[str, Array]:
        if rows and isinstance(rows[0], dict) and rows[0].keys() == self.inputs.keys():
            return {n: _array([row[n] for row in rows]) for n in self.inputs}
        return {"": _array(rows)}

    def _run(self, given: Mapping[str, Array]) -> dict[str, Array]:
        if len(given) == len(self.inputs) == 1:
            given = dict(zip(self.inputs, given.values(), strict=True))
        if given.keys() != self.inputs.keys():
            raise InvalidInput(f"the model needs the inputs {', '.join(sorted(self.inputs))}")
        for name, array in given.items():
            if not self.inputs[name].fits(array.shape):
                raise InvalidInput(
                    f'input "{name}" takes the shape {self.inputs[name].sizes}, but this is '
                    f"{list(array.shape)}"
                )
        refusals: tuple[type[Exception], ...] = (ValueError, TypeError, *self.refusals)
        try:
            return self.compute({n: a.astype(self.inputs[n].dtype) for n, a in given.items()})
        except refusals as error:
            raise InvalidInput(first_line(error)) from error


def _array(values: list[Any]) -> Array:
    """Values of one tensor; bytes are objects, as NumPy's drop zeros at their end."""
    if not (values and isinstance(values[0], dict) and values[0].keys() == _BYTES):
        return array_of_rows(values)
    found = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        found[place] = _decoded(value)
    return found


def _decoded(value: Any) -> bytes:
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (TypeError, KeyError, ValueError, binascii.Error):
        raise InvalidInput('bytes are given as {"b64": "…"}, in base64') from None
