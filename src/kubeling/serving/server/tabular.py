"""Models that map rows of features to rows of predictions: most of what is served."""

from __future__ import annotations

import asyncio
import importlib.metadata
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from kubeling.serving.server import tensors
from kubeling.serving.server.batching import Batcher, TakesLong
from kubeling.serving.server.conversion.background import Conversion
from kubeling.serving.server.conversion.keeping import Keeping, Known
from kubeling.serving.server.errors import InferenceError, InvalidInput, ModelLoadError
from kubeling.serving.server.formats import at_once
from kubeling.serving.server.heap import give_back
from kubeling.serving.server.infer_types import InferOutput, InferRequest, InferResponse
from kubeling.serving.server.quick import AllDone, Done, QuickModel
from kubeling.serving.server.rows import array_of_rows, joined_rows, pieces, rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["TabularModel", "first_line", "single_file"]


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


@dataclass(frozen=True, slots=True)
class _ModelFile:
    """A file as it was when the model, or its twin, was loaded."""

    path: Path
    state: tuple[int, int, int] | None

    def unchanged(self) -> Path:
        """Its path; raises :class:`InferenceError` where there is another model by now."""
        if _state_of(self.path) != self.state:
            raise InferenceError(
                f"{self.path.name} changed since the model was loaded, and these rows need the "
                "model itself; load it again"
            )
        return self.path


def _state_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


class TabularModel(QuickModel):
    """Subclasses load a file and predict an array; both protocols and batching come from here.

    What is known of the tensors besides their shape is asked of the model at load: it predicts a
    row of zeros, and what comes back has the type and width of its answers.
    """

    suffixes: Sequence[str] = ()
    format_name = ""
    datatype = "FP64"
    output_name = "output-0"
    shared = False
    """Whether threads may predict with one model at once, by what its library says."""
    original: Any = None
    """The library's own model, for those that convert it to ONNX; none while it is let go of."""

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(name)
        self.converting = False
        self.keeping: Keeping | None = None
        self._conversion: Conversion | None = None
        self.directory = directory
        self.columns: list[str] | None = None
        self.width: int | None = None
        self.saved_with = ""
        """The library and its version, if another version loads the model: it may differ."""
        self.probed: Array | None = None
        self._batcher = Batcher(self._checked)
        self.runner = self._batcher.runner
        self._alone = threading.Lock()
        """Held while the model itself predicts, or is loaded, unless it may be shared."""
        self._file: _ModelFile | None = None
        """What is to be loaded before the model itself can answer."""

    @property
    def batches(self) -> Batcher:
        return self._batcher

    def load(self) -> bool:
        file = single_file(self.directory, self.suffixes, self.format_name)
        self.stop_converting()
        self._conversion = None
        self._batcher.runner.threads = 1
        as_it_is = _ModelFile(file, _state_of(file))
        conversion = Conversion(
            self.format_name,
            self.directory,
            file,
            self._by_original,
            lambda: self._let_go(as_it_is),
            self.keeping,
        )
        if self.converting and (known := conversion.found()) is not None:
            self._conversion, self._file = conversion, as_it_is
            self._batcher.runner.threads = at_once()
            self.width, self.columns = known.width, known.columns
            self.saved_with = known.saved_with
            if known.shape is not None:
                self.probed = np.zeros(known.shape, known.dtype)
            return True
        self.load_file(file)
        self.probed = self._probe()
        if self.converting and self.original is not None:
            # The model answers until there is a twin that is proved equal.
            self._conversion = conversion
            conversion.start(self._known())
        elif self.shared:
            self._batcher.runner.threads = at_once()
        return True

    def stop_converting(self) -> None:
        """Ends what makes the model's twin in ONNX."""
        if self._conversion is not None:
            self._conversion.stop()

    def stop(self) -> None:
        super().stop()
        self.stop_converting()

    def load_file(self, file: Path) -> None:
        """Reads the model; sets ``columns`` and ``width`` where the file tells."""
        raise NotImplementedError

    def forget(self) -> None:
        """Lets go of what :meth:`load_file` read, but for what the model is known by."""
        self.original = None

    def predict_rows(self, rows: Array) -> Array:
        """Predicts rows; one result per row."""
        raise NotImplementedError

    def typed(self, rows: Array) -> Array:
        """Rows of V1 in the type that the model takes; JSON's values have none of their own."""
        return rows

    def get_input_types(self) -> list[dict[str, Any]]:
        width = -1 if self.width is None else self.width
        return [{"name": "input-0", "datatype": self.datatype, "shape": [-1, width]}]

    def get_output_types(self) -> list[dict[str, Any]]:
        if self.probed is None:
            return []
        datatype = tensors.datatype_of(self.probed)
        shape = [-1, *self.probed.shape[1:]]
        return [{"name": self.output_name, "datatype": datatype, "shape": shape}]

    def get_parameters(self) -> dict[str, Any]:
        found: dict[str, Any] = {"features": list(self.columns)} if self.columns else {}
        if self._conversion is not None:
            found["onnx"] = self._conversion.state
        elif self.original is not None:
            found["onnx"] = "no: turned off"
        if self.saved_with:
            library = self.saved_with.partition(" ")[0]
            found["saved_with"] = self.saved_with
            found["loaded_with"] = f"{library} {importlib.metadata.version(library)}"
        return found

    def answer(self, payload: Any, done: Done) -> None:
        if isinstance(payload, InferRequest):
            if len(payload.inputs) == 1:
                rows = _values(payload.inputs[0].as_numpy())
            else:
                rows = self._rows({t.name: _values(t.as_numpy()) for t in payload.inputs})
        else:
            rows = self.typed(array_of_rows(rows_of(payload), self.columns))

        def predicted(found: Array | None, error: BaseException | None) -> None:
            try:
                answer = None if found is None else self._formed(payload, found)
            except Exception as unformed:
                # Whoever else was in the batch has to be answered all the same.
                answer, error = None, unformed
            done(answer, error)

        self._batcher.submit(self._shaped(rows), predicted)

    def answer_all(self, payloads: Sequence[Any], done: AllDone) -> bool:
        joined = joined_rows(payloads, self.width)
        if joined is None:
            return False
        rows, sizes = joined

        def predicted(found: Array | None, error: BaseException | None) -> None:
            try:
                answers = [] if found is None else pieces(tensors.to_json(found), sizes)
            except Exception as unformed:
                # As in answer: nobody may be left without one.
                answers, error = [], unformed
            done([{"predictions": one} for one in answers], error)

        self._batcher.submit_all(self.typed(rows), predicted, len(sizes))
        return True

    def _formed(self, payload: Any, found: Array) -> Any:
        if isinstance(payload, InferRequest):
            outputs = [InferOutput.of(self.output_name, found)]
            return InferResponse(payload.id, self.name, outputs)
        return {"predictions": tensors.to_json(found)}

    def _known(self) -> Known:
        known = Known(self.width or 0, self.columns, saved_with=self.saved_with)
        if self.probed is None:
            return known
        shape, dtype = list(self.probed.shape), self.probed.dtype.str
        return msgspec.structs.replace(known, shape=shape, dtype=dtype)

    def _by_original(self, rows: Array) -> Array:
        """What the model itself answers; rows that its twin does not take may need it again."""
        if self.shared and self._file is None:
            return self.predict_rows(rows)
        if not self._alone.acquire(blocking=not _on_the_loop()):
            raise TakesLong
        try:
            if self._file is not None:
                if _on_the_loop():
                    raise TakesLong
                self.load_file(self._file.unchanged())
                self._file = None
            return self.predict_rows(rows)
        finally:
            self._alone.release()

    def _let_go(self, file: _ModelFile) -> None:
        """Its twin answers from now on, to as many threads as there are processors for."""
        self.forget()
        self._file = file
        self._batcher.runner.threads = at_once()
        threading.Thread(target=give_back, name="giving back").start()

    def _probe(self) -> Array | None:
        """What a row of zeros is answered with; none if the model wants other things."""
        if self.width is None:
            return None
        try:
            found = np.asarray(self.predict_rows(np.zeros((1, self.width))))
        except Exception:
            # A pipeline may want text, or anything; then nothing is said of its answers.
            return None
        return found if found.ndim and len(found) == 1 else None

    def _rows(self, arrays: Mapping[str, Array]) -> Array:
        named = list(arrays)
        if self.columns and set(self.columns) == set(named):
            named = self.columns
        if any(not arrays[column].size or not arrays[column].ndim for column in named):
            raise InvalidInput("every input needs rows, and a shape that begins with their number")
        columns = [arrays[column].reshape(len(arrays[column]), -1) for column in named]
        if len({len(column) for column in columns}) > 1:
            raise InvalidInput("the inputs differ in their number of rows")
        if any(column.dtype == object for column in columns):
            columns = [column.astype(object) for column in columns]
        return np.concatenate(columns, axis=1)

    def _shaped(self, rows: Array) -> Array:
        if rows.ndim == 0:
            raise InvalidInput("the input is a single number; send rows of features")
        if rows.size == 0:
            raise InvalidInput("there are no rows")
        if rows.ndim == 1:
            rows = rows.reshape(1, -1) if self.width == len(rows) else rows.reshape(-1, 1)
        if self.width is not None and rows.ndim == 2 and rows.shape[1] != self.width:
            raise InvalidInput(
                f"every row needs {self.width} features, but these have {rows.shape[1]}"
            )
        return rows

    def _checked(self, rows: Array) -> Array:
        try:
            twin = None if self._conversion is None else self._conversion.twin
            found = np.asarray(self._by_original(rows)) if twin is None else twin.predict(rows)
        except (ValueError, TypeError, OverflowError) as error:
            raise InvalidInput(first_line(error)) from error
        if found.ndim == 0 or len(found) != len(rows):
            raise InferenceError(
                f"the model answered {len(rows)} rows with an array of shape {list(found.shape)}"
            )
        return found


def _values(array: Array) -> Array:
    """An array whose elements of BYTES are text, as models know it."""
    if array.dtype != object:
        return array
    found = np.empty(array.size, dtype=object)
    try:
        found[:] = [e.decode() if isinstance(e, bytes) else e for e in array.ravel()]
    except UnicodeDecodeError:
        raise InvalidInput("the model takes text, but these bytes are no UTF-8") from None
    return found.reshape(array.shape)


def _on_the_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def first_line(error: Exception) -> str:
    """What an error says, without the rest of what a library adds."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
