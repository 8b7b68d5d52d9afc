"""TensorFlow models: SavedModels by their ``serving_default`` signature, and Keras files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kubeling.serving.server.errors import ModelLoadError
from kubeling.serving.server.formats import library
from kubeling.serving.server.formats.named_tensors import NamedTensorsModel, Spec
from kubeling.serving.server.model import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["create", "newest_version"]


def create(name: str, directory: Path) -> Model:
    """The model of a folder."""
    files = sorted(directory.rglob("*.keras"))
    if len(files) == 1 and not any(directory.rglob("saved_model.pb")):
        from kubeling.serving.server.formats.keras_model import KerasModel

        return KerasModel(name, files[0])
    return TensorFlowModel(name, directory)


def newest_version(directory: Path) -> Path:
    """The folder of the SavedModel: this one, or its highest numbered version."""
    found = sorted(path.parent for path in directory.rglob("saved_model.pb"))
    if not found:
        present = ", ".join(sorted(path.name for path in directory.iterdir())[:10]) or "nothing"
        raise ModelLoadError(
            f"a TensorFlow model is a folder with saved_model.pb, or numbered folders of that "
            f"kind, or one .keras file, but {directory} holds {present}; check storageUri"
        )
    return max(found, key=lambda path: int(path.name) if path.name.isdigit() else -1)


class TensorFlowModel(NamedTensorsModel):
    """A SavedModel."""

    platform = "tensorflow_savedmodel"

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(name)
        self.directory = directory

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
        self.refusals = (tf.errors.InvalidArgumentError,)
        specs = dict(self._signature.structured_input_signature[1])
        self.inputs = {name: _spec(spec) for name, spec in specs.items()}
        outputs = self._signature.structured_outputs
        self.outputs = {name: _spec(spec) for name, spec in outputs.items()}
        return True

    def compute(self, given: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        feed = {name: self._tf.constant(array) for name, array in given.items()}
        found = self._signature(**feed)
        return {name: np.asarray(tensor) for name, tensor in found.items()}


def _spec(spec: Any) -> Spec:
    shape = tuple(-1 if size is None else int(size) for size in spec.shape)
    return Spec(shape, np.dtype(spec.dtype.as_numpy_dtype))
