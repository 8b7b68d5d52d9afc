"""TensorFlow SavedModels, by their ``serving_default`` signature."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kubeling.serving.server import tensors
from kubeling.serving.server.batching import Runner
from kubeling.serving.server.errors import InvalidInput, ModelLoadError
from kubeling.serving.server.formats import library
from kubeling.serving.server.infer_types import InferOutput, InferRequest, InferResponse
from kubeling.serving.server.model import Model
from kubeling.serving.server.quick import Done, QuickModel
from kubeling.serving.server.rows import array_of_rows, rows_of
from kubeling.serving.server.tabular import first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["create", "newest_version"]


def create(name: str, directory: Path) -> Model:
    """The model of a folder."""
    return TensorFlowModel(name, directory)


def newest_version(directory: Path) -> Path:
    """The folder of the SavedModel: this one, or its highest numbered version."""
    found = sorted(path.parent for path in directory.rglob("saved_model.pb"))
    if not found:
        present = ", ".join(sorted(path.name for path in directory.iterdir())[:10]) or "nothing"
        raise ModelLoadError(
            f"a TensorFlow model is a folder with saved_model.pb, or numbered folders of that "
            f"kind, but {directory} holds {present}; check storageUri"
        )
    return max(found, key=lambda path: int(path.name) if path.name.isdigit() else -1)


class TensorFlowModel(QuickModel):
    """Answers with one output as it is, with several as an object by name, as TF Serving does."""

    platform = "tensorflow_savedmodel"

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(name)
        self.directory = directory
        self._runner = Runner()

    def load(self) -> bool:
        tf = library("tensorflow")
        folder = newest_version(self.directory)
        self._tf = tf
        self._model = tf.saved_model.load(str(folder))
        signatures = self._model.signatures
        if "serving_default" not in signatures:
            raise ModelLoadError(
                "the SavedModel has no serving_default signature; export it with "
                "model.export() or tf.saved_model.save(signatures=…)"
            )
        self._signature = signatures["serving_default"]
        self._specs = dict(self._signature.structured_input_signature[1])
        return True

    def get_input_types(self) -> list[dict[str, Any]]:
        return [_describe(name, spec) for name, spec in self._specs.items()]

    def get_output_types(self) -> list[dict[str, Any]]:
        outputs = self._signature.structured_outputs
        return [_describe(name, spec) for name, spec in outputs.items()]

    def answer(self, payload: Any, done: Done) -> None:
        self._runner.run(lambda: self._answer(payload), done)

    def _answer(self, payload: Any) -> Any:
        if isinstance(payload, InferRequest):
            given = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
            outputs = [InferOutput.of(n, array) for n, array in self._run(given).items()]
            return InferResponse(payload.id, self.name, outputs)
        found = self._run(self._from_rows(rows_of(payload)))
        if len(found) == 1:
            return {"predictions": tensors.to_json(next(iter(found.values())))}
        rows = zip(*found.values(), strict=True)
        return {
            "predictions": [dict(zip(found, map(tensors.to_json, r), strict=True)) for r in rows]
        }

    def _from_rows(self, rows: list[Any]) -> dict[str, NDArray[Any]]:
        if rows and isinstance(rows[0], dict) and rows[0].keys() == self._specs.keys():
            return {n: array_of_rows([row[n] for row in rows]) for n in self._specs}
        return {"": array_of_rows(rows)}

    def _run(self, given: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if len(given) == len(self._specs) == 1:
            given = dict(zip(self._specs, given.values(), strict=True))
        if given.keys() != self._specs.keys():
            raise InvalidInput(f"the model needs the inputs {', '.join(sorted(self._specs))}")
        for name, array in given.items():
            if not self._specs[name].shape.is_compatible_with(array.shape):
                wanted = _describe(name, self._specs[name])["shape"]
                raise InvalidInput(
                    f'input "{name}" takes the shape {wanted}, but this is {list(array.shape)}'
                )
        try:
            feed = {
                name: self._tf.constant(array.astype(self._specs[name].dtype.as_numpy_dtype))
                for name, array in given.items()
            }
            found = self._signature(**feed)
        except (ValueError, TypeError, self._tf.errors.InvalidArgumentError) as error:
            raise InvalidInput(first_line(error)) from error
        return {name: np.asarray(tensor) for name, tensor in found.items()}


def _describe(name: str, spec: Any) -> dict[str, Any]:
    shape = [-1 if size is None else int(size) for size in spec.shape]
    dtype = np.dtype(spec.dtype.as_numpy_dtype)
    return {"name": name, "datatype": tensors.datatype_of(np.empty(0, dtype)), "shape": shape}
