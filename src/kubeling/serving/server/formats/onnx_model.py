"""ONNX models on ONNX Runtime, with the tensors the file declares."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kubeling.serving.server import tensors
from kubeling.serving.server.batching import Batcher
from kubeling.serving.server.errors import InvalidInput, ModelLoadError
from kubeling.serving.server.formats import at_once, library, threads
from kubeling.serving.server.infer_types import InferOutput, InferRequest, InferResponse
from kubeling.serving.server.model import Model
from kubeling.serving.server.quick import Done, QuickModel
from kubeling.serving.server.rows import array_of_rows, rows_of
from kubeling.serving.server.tabular import single_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["create"]

_TYPES: Final = {
    "tensor(float)": ("FP32", "float32"),
    "tensor(double)": ("FP64", "float64"),
    "tensor(float16)": ("FP16", "float16"),
    "tensor(int64)": ("INT64", "int64"),
    "tensor(int32)": ("INT32", "int32"),
    "tensor(int16)": ("INT16", "int16"),
    "tensor(int8)": ("INT8", "int8"),
    "tensor(uint8)": ("UINT8", "uint8"),
    "tensor(bool)": ("BOOL", "bool"),
    "tensor(string)": ("BYTES", "object"),
}


def create(name: str, directory: Path) -> Model:
    """The model of a folder."""
    return OnnxModel(name, directory)


class OnnxModel(QuickModel):
    """V1 sends its rows to the first input and answers the first output; V2 names tensors."""

    platform = "onnxruntime_onnx"

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(name)
        self.directory = directory
        self._batcher = Batcher(self._first)
        self.runner = self._batcher.runner

    @property
    def batches(self) -> Batcher:
        return self._batcher

    def load(self) -> bool:
        onnxruntime = library("onnxruntime")
        file = single_file(self.directory, (".onnx",), "onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        try:
            self._session = onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            # ONNX Runtime's errors share no public base class.
            raise ModelLoadError(f"{file.name} is not an ONNX model: {error}") from error
        self._batcher.runner.threads = at_once()  # sessions may be run by several threads
        self._inputs = {i.name: i for i in self._session.get_inputs()}
        self._outputs = [o for o in self._session.get_outputs() if o.type in _TYPES]
        return True

    def get_input_types(self) -> list[dict[str, Any]]:
        return [_describe(tensor) for tensor in self._inputs.values()]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [_describe(tensor) for tensor in self._outputs]

    def answer(self, payload: Any, done: Done) -> None:
        if isinstance(payload, InferRequest):
            self._batcher.runner.run(lambda: self._infer(payload), done)
            return
        rows = array_of_rows(rows_of(payload))
        if rows.size == 0:
            raise InvalidInput("there are no rows")

        def predicted(found: Array | None, error: BaseException | None) -> None:
            if found is None:
                done(None, error)
            else:
                done({"predictions": tensors.to_json(found)}, None)

        first = next(iter(self._inputs.values()))
        self._batcher.submit(self._cast(first, rows), predicted)

    def _infer(self, request: InferRequest) -> InferResponse:
        arrays = {tensor.name: tensor.as_numpy() for tensor in request.inputs}
        if len(arrays) == len(self._inputs) == 1:
            arrays = {next(iter(self._inputs)): next(iter(arrays.values()))}
        if missing := self._inputs.keys() - arrays.keys():
            raise InvalidInput(f"the model needs the inputs {', '.join(sorted(missing))}")
        if unknown := arrays.keys() - self._inputs.keys():
            raise InvalidInput(f"the model has no inputs {', '.join(sorted(unknown))}")
        wanted = self._wanted(request)
        feed = {name: self._cast(self._inputs[name], array) for name, array in arrays.items()}
        found = self._run(wanted, feed)
        outputs = [
            InferOutput.of(name, np.asarray(array))
            for name, array in zip(wanted, found, strict=True)
        ]
        return InferResponse(request.id, self.name, outputs)

    def _wanted(self, request: InferRequest) -> list[str]:
        known = [output.name for output in self._outputs]
        asked = [output.name for output in request.request_outputs or ()]
        if unknown := set(asked) - set(known):
            raise InvalidInput(f"the model has no outputs {', '.join(sorted(unknown))}")
        return list(dict.fromkeys(asked)) or known

    def _cast(self, tensor: Any, array: Array) -> Array:
        if tensor.type not in _TYPES:
            raise InvalidInput(f'input "{tensor.name}" is a {tensor.type}, which cannot be sent')
        try:
            return array.astype(_TYPES[tensor.type][1], copy=False)
        except (ValueError, TypeError, OverflowError):
            kind = _TYPES[tensor.type][0]
            raise InvalidInput(f'input "{tensor.name}" takes {kind}, which these are not') from None

    def _first(self, rows: Array) -> Array:
        first = next(iter(self._inputs))
        return np.asarray(self._run([self._outputs[0].name], {first: rows})[0])

    def _run(self, wanted: list[str], feed: Mapping[str, Array]) -> list[Array]:
        try:
            found: list[Array] = self._session.run(wanted, dict(feed))
        except Exception as error:
            # ONNX Runtime's errors share no public base class; the input is what can be wrong.
            raise InvalidInput(" ".join(str(error).split())) from error
        return found


def _describe(tensor: Any) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else -1 for size in tensor.shape]
    datatype = _TYPES.get(tensor.type, ("BYTES", "object"))[0]
    return {"name": tensor.name, "datatype": datatype, "shape": shape}
