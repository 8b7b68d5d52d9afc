"""Keras models in a ``.keras`` file, as ``model.save()`` of Keras 3 makes it.

They run on the backend that the runtime's image has; Keras looks for TensorFlow. Upstream serves
SavedModels only, to which such models are exported.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kubeling.serving.server.errors import ModelLoadError
from kubeling.serving.server.formats import library
from kubeling.serving.server.formats.named_tensors import NamedTensorsModel, Spec
from kubeling.serving.server.tabular import first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KerasModel"]


class KerasModel(NamedTensorsModel):
    """Code of the model's own, as in a Lambda layer, is not run: a file may come from anybody."""

    platform = "keras"

    def __init__(self, name: str, file: Path) -> None:
        super().__init__(name)
        self._file = file

    def load(self) -> bool:
        keras = self._keras = library("keras")
        try:
            model = keras.models.load_model(self._file, compile=False, safe_mode=True)
        except (ValueError, TypeError, OSError, KeyError) as error:
            raise ModelLoadError(f"{self._file.name}: {first_line(error)}") from error
        self._model = model
        self.inputs = {_name(tensor): _spec(keras, tensor) for tensor in model.inputs}
        outputs = [_spec(keras, tensor) for tensor in model.outputs]
        # A Sequential's outputs have no names.
        names = getattr(model, "output_names", None) or [f"output-{i}" for i in range(len(outputs))]
        self.outputs = dict(zip(names, outputs, strict=True))
        return True

    def compute(self, given: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        tree = self._keras.tree
        asked: Any = [given[name] for name in self.inputs]
        if (form := getattr(self._model, "input", None)) is not None:
            asked = tree.pack_sequence_as(form, asked)
        else:
            # A Sequential has one input, and no form of it.
            [asked] = asked
        found = tree.flatten(self._model(asked, training=False))
        numbers = [np.asarray(self._keras.ops.convert_to_numpy(tensor)) for tensor in found]
        return dict(zip(self.outputs, numbers, strict=True))


def _name(tensor: Any) -> str:
    return str(tensor.name)


def _spec(keras: Any, tensor: Any) -> Spec:
    shape = tuple(-1 if size is None else int(size) for size in tensor.shape)
    return Spec(shape, np.dtype(keras.backend.standardize_dtype(tensor.dtype)))
