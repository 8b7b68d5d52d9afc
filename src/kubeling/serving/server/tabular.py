"""Models that map rows of features to rows of predictions: most of what is served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kubeling.serving.server import tensors
from kubeling.serving.server.batching import Batcher
from kubeling.serving.server.errors import InferenceError, InvalidInput, ModelLoadError
from kubeling.serving.server.model import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["TabularModel", "single_file"]


def single_file(directory: Path, suffixes: Sequence[str], format_name: str) -> Path:
    """The one model file of a folder; raises :class:`ModelLoadError` if there is not just one."""
    found = sorted(path for path in directory.rglob("*") if path.suffix in suffixes)
    if len(found) == 1:
        return found[0]
    wanted = f"exactly one {' or '.join(suffixes)} file"
    present = sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))
    shown = ", ".join(present[:10]) or "nothing"
    raise ModelLoadError(
        f"a model of format {format_name} is {wanted}, but {directory} holds {shown}; "
        "check storageUri"
    )


class TabularModel(Model):
    """Subclasses load a file and predict an array; both protocols and batching come from here."""

    suffixes: Sequence[str] = ()
    format_name = ""

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(name)
        self.directory = directory
        self.columns: list[str] | None = None
        self.width: int | None = None
        self._batcher = Batcher(self._checked)

    def load(self) -> None:
        self.load_file(single_file(self.directory, self.suffixes, self.format_name))

    def load_file(self, file: Path) -> None:
        """Reads the model; sets ``columns`` and ``width`` where the file tells."""
        raise NotImplementedError

    def predict_rows(self, rows: Array) -> Array:
        """Predicts rows; one result per row."""
        raise NotImplementedError

    async def predict(self, body: Any, headers: Mapping[str, str]) -> Any:
        if isinstance(body, dict) and _is_v2(body):
            return await self._infer(body)
        rows = tensors.instances_to_array(tensors.rows_of(body), self.columns)
        return {"predictions": tensors.to_json(await self._batched(rows))}

    def metadata(self) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
        width = -1 if self.width is None else self.width
        taken: list[Mapping[str, Any]] = [
            {"name": "input-0", "datatype": "FP64", "shape": [-1, width]}
        ]
        return taken, []

    async def _infer(self, body: Any) -> Any:
        arrays = {i.get("name", ""): tensors.tensor_to_array(i) for i in body["inputs"]}
        found = await self._batched(self._rows(arrays))
        return {"outputs": [tensors.to_tensor("output-0", found)]}

    def _rows(self, arrays: Mapping[str, Array]) -> Array:
        if len(arrays) == 1:
            return next(iter(arrays.values()))
        named = list(arrays)
        if self.columns and set(self.columns) == set(named):
            named = self.columns
        columns = [arrays[column].reshape(len(arrays[column]), -1) for column in named]
        try:
            return np.concatenate(columns, axis=1)
        except ValueError:
            raise InvalidInput("the inputs differ in their number of rows") from None

    async def _batched(self, rows: Array) -> Array:
        if rows.ndim == 1:
            rows = rows.reshape(1, -1) if self.width == len(rows) else rows.reshape(-1, 1)
        if self.width is not None and rows.ndim == 2 and rows.shape[1] != self.width:
            raise InvalidInput(
                f"every row needs {self.width} features, but these have {rows.shape[1]}"
            )
        return await self._batcher.predict(rows)

    def _checked(self, rows: Array) -> Array:
        try:
            return np.asarray(self.predict_rows(rows))
        except (ValueError, TypeError) as error:
            raise InvalidInput(_first_line(error)) from error
        except InferenceError:
            raise
        except Exception as error:
            raise InferenceError(f"{type(error).__name__}: {_first_line(error)}") from error


def _is_v2(body: Mapping[str, Any]) -> bool:
    inputs = body.get("inputs")
    return (
        isinstance(inputs, list)
        and bool(inputs)
        and isinstance(inputs[0], dict)
        and "datatype" in inputs[0]
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
