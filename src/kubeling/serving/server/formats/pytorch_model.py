"""PyTorch models: TorchScript, exported programs, and TorchServe's archives of TorchScript.

TorchServe itself is archived upstream. Of its ``.mar`` files those are served whose serialized file
is TorchScript and whose handler is TorchServe's own: other handlers are programs for TorchServe.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from kubeling.serving.server.errors import InvalidInput, ModelLoadError
from kubeling.serving.server.formats import library, threads
from kubeling.serving.server.infer_types import InferOutput, InferRequest, InferResponse
from kubeling.serving.server.quick import Done
from kubeling.serving.server.tabular import TabularModel, first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["create"]

_EXPORTED: Final = ".pt2"
_ARCHIVE: Final = ".mar"


def create(name: str, directory: Path) -> TabularModel:
    """The model of a folder."""
    return PyTorchModel(name, directory)


class PyTorchModel(TabularModel):
    """V1's numbers are sent in 32 bits; V2's tensors as they come, in the order they come."""

    suffixes = (".pt", ".pth", _EXPORTED, _ARCHIVE)
    format_name = "pytorch"
    platform = "pytorch"
    datatype = "FP32"
    shared = True

    def load_file(self, file: Path) -> None:
        torch = self._torch = library("torch")
        torch.set_num_threads(threads())
        if file.suffix == _EXPORTED:
            self._module = self._exported(file)
        else:
            self._module = self._script(file)

    def predict_rows(self, rows: Array) -> Array:
        return self._run([rows])[0]

    def typed(self, rows: Array) -> Array:
        # Weights mostly have this one.
        return rows.astype(np.float32) if rows.dtype.kind in "biuf" else rows

    def answer(self, payload: Any, done: Done) -> None:
        if not isinstance(payload, InferRequest):
            super().answer(payload, done)
            return
        arrays = [tensor.as_numpy() for tensor in payload.inputs]
        if len(arrays) == 1 and arrays[0].ndim > 1:
            super().answer(payload, done)
            return
        self._batcher.runner.run(lambda: self._infer(payload, arrays), done)

    def _infer(self, request: InferRequest, arrays: list[Array]) -> InferResponse:
        found = self._run(arrays)
        outputs = [InferOutput.of(f"output-{n}", array) for n, array in enumerate(found)]
        return InferResponse(request.id, self.name, outputs)

    def _exported(self, file: Path) -> Any:
        try:
            return self._torch.export.load(str(file)).module()
        except Exception as error:
            # What torch.export raises for a file of another kind is not stated.
            raise ModelLoadError(
                f"{file.name} is not an exported program ({first_line(error)}); "
                "save it with torch.export.save()"
            ) from error

    def _script(self, file: Path) -> Any:
        source: Any = io.BytesIO(_serialized(file)) if file.suffix == _ARCHIVE else str(file)
        try:
            return self._torch.jit.load(source, map_location="cpu").eval()
        except (RuntimeError, ValueError) as error:
            raise ModelLoadError(
                f"{file.name} is not TorchScript; weights alone do not say what to compute: save "
                "the model with torch.export.save() or torch.jit.script(model).save()"
            ) from error

    def _run(self, arrays: list[Array]) -> list[Array]:
        given = [self._tensor(array) for array in arrays]
        try:
            with self._torch.inference_mode():
                found = self._module(*given)
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            raise InvalidInput(_cause(error)) from error
        if isinstance(found, dict):
            found = list(found.values())
        several = found if isinstance(found, list | tuple) else [found]
        return [np.asarray(tensor.detach()) for tensor in several]

    def _tensor(self, array: Array) -> Any:
        if array.dtype.kind not in "biuf":
            raise InvalidInput("the model takes numbers, but these are text")
        # A copy, as PyTorch wants one that may be written to, and bytes of a request may not.
        return self._torch.from_numpy(np.array(array))


def _serialized(file: Path) -> bytes:
    """The model in an archive of TorchServe."""
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = msgspec.json.decode(archive.read("MAR-INF/MANIFEST.json"))["model"]
            if manifest.get("modelFile") or str(manifest.get("handler", "")).endswith(".py"):
                raise ModelLoadError(
                    f"{file.name} has code for TorchServe ({manifest.get('handler')}), which is "
                    "not run; serve it from your own container, or save TorchScript"
                )
            return archive.read(manifest["serializedFile"])
    except (zipfile.BadZipFile, KeyError, TypeError, msgspec.DecodeError) as error:
        raise ModelLoadError(f"{file.name} is not an archive of torch-model-archiver") from error


def _cause(error: BaseException) -> str:
    """The line that says what is wrong; TorchScript puts it last, after its own stack."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    last = lines[-1].strip() if lines else type(error).__name__
    return last.removeprefix("RuntimeError: ")
