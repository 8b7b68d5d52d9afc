"""PMML models, evaluated in a Java virtual machine within the process.

Upstream's server uses jpmml-evaluator, whose licence is the AGPL (kserve's python/pmmlserver);
pypmml, under the Apache licence, knows the same models. A row is answered with what upstream
answers: the target and the outputs that the model declares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from kubeling.serving.server.batching import Runner
from kubeling.serving.server.errors import InvalidInput, ModelLoadError
from kubeling.serving.server.formats import library
from kubeling.serving.server.infer_types import InferOutput, InferRequest, InferResponse
from kubeling.serving.server.model import Model
from kubeling.serving.server.quick import Done, QuickModel
from kubeling.serving.server.rows import rows_of
from kubeling.serving.server.tabular import first_line, single_file

__all__ = ["create"]

_PREDICTED: Final = "predicted_"
_NUMBERS: Final = {"double": "FP64", "float": "FP32", "integer": "INT64"}
_BITS: Final = {"double": 1023, "float": 127}
"""How many bits a whole number may have, by the type of its field; 63 in all others."""
_TYPES: Final = {**_NUMBERS, "boolean": "BOOL"}


def create(name: str, directory: Path) -> Model:
    """The model of a folder."""
    return PmmlModel(name, directory)


class PmmlModel(QuickModel):
    """Takes rows in the order of the model's fields, or objects by their names."""

    platform = "pmml"

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(name)
        self.directory = directory
        self.runner: Runner = Runner()

    def load(self) -> bool:
        file = single_file(self.directory, (".pmml",), "pmml")
        pypmml = library("pypmml")
        try:
            # Calls within the process are several times as fast as those to another one; signals
            # stay the server's.
            pypmml.PMMLContext.getOrCreate(gateway="jpype", java_opts=["-Xrs"])
        except Exception as error:
            # Whatever the bridge raises, the machine it leads to is not there.
            raise ModelLoadError(
                f"PMML needs a Java runtime; install one, or set JAVA_HOME ({first_line(error)})"
            ) from error
        try:
            model = pypmml.Model.fromFile(str(file))
        except pypmml.PMMLError as error:
            raise ModelLoadError(f"{file.name}: {first_line(error)}") from error
        self._error = pypmml.PMMLError
        self._fields = {field.name: field.dataType for field in model.inputFields}
        declared = list(model.outputNames or ())
        model.setSupplementOutput(True)
        target = model.targetName
        self._columns = [
            (target if name == f"{_PREDICTED}{target}" else name, place)
            for place, name in enumerate(model.outputNames)
            if name in declared or name == f"{_PREDICTED}{target}"
        ]
        self._columns.sort(key=lambda column: column[0] != target)
        self._model = model
        return True

    def get_input_types(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "datatype": _TYPES.get(kind, "BYTES"), "shape": [-1]}
            for name, kind in self._fields.items()
        ]

    def answer(self, payload: Any, done: Done) -> None:
        self.runner.run(lambda: self._answer(payload), done)

    def _answer(self, payload: Any) -> Any:
        if not isinstance(payload, InferRequest):
            return {"predictions": self._evaluated(rows_of(payload))}
        found = self._evaluated(_rows_of_tensors(payload, list(self._fields)))
        outputs = [
            InferOutput.of(name, _column([row[name] for row in found])) for name, _ in self._columns
        ]
        return InferResponse(payload.id, self.name, outputs)

    def _evaluated(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        if not rows:
            raise InvalidInput("there are no rows")
        asked = [self._checked(row) for row in rows]
        try:
            found = [self._model.predict(row) for row in asked]
        except self._error as error:
            raise InvalidInput(first_line(error)) from error
        return [{name: _plain(row[place]) for name, place in self._columns} for row in found]

    def _checked(self, row: Any) -> list[Any]:
        if isinstance(row, dict):
            if unknown := row.keys() - self._fields.keys():
                known = ", ".join(self._fields)
                raise InvalidInput(f'there is no field "{sorted(unknown)[0]}"; fields: {known}')
            row = [row.get(name) for name in self._fields]
        if not isinstance(row, list) or len(row) != len(self._fields):
            raise InvalidInput(
                f"a row has {len(self._fields)} values, in this order, or is an object of them: "
                f"{', '.join(self._fields)}"
            )
        return [_value(v, *field) for v, field in zip(row, self._fields.items(), strict=True)]


def _value(value: Any, name: str, kind: str) -> Any:
    """A value of its field's type; ``None`` is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, list | dict):
        raise InvalidInput(f'field "{name}" takes a single value, not a {type(value).__name__}')
    if isinstance(value, int) and value.bit_length() > _BITS.get(kind, 63):
        raise InvalidInput(f'field "{name}" takes no number as large as this')
    if kind in _NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidInput(f'field "{name}" takes a number, not {value!r}')
        return float(value) if kind != "integer" else value
    return value


def _rows_of_tensors(request: InferRequest, fields: Sequence[str]) -> list[Any]:
    """One tensor of rows, or a tensor for each field."""
    arrays = {tensor.name: tensor.as_numpy() for tensor in request.inputs}
    if len(arrays) == 1 and len(fields) != 1:
        [array] = arrays.values()
        return [_texts(row) for row in (array.tolist() if array.ndim > 1 else [array.tolist()])]
    if unknown := arrays.keys() - set(fields):
        raise InvalidInput(f'there is no field "{sorted(unknown)[0]}"; fields: {", ".join(fields)}')
    columns = {name: _texts(array.ravel().tolist()) for name, array in arrays.items()}
    if len({len(column) for column in columns.values()}) > 1:
        raise InvalidInput("the inputs differ in their number of rows")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _texts(values: list[Any]) -> list[Any]:
    return [v.decode(errors="replace") if isinstance(v, bytes) else v for v in values]


def _column(values: list[Any]) -> Any:
    if all(isinstance(value, int | float) for value in values):
        return np.asarray(values)
    return np.asarray([str(value) for value in values], dtype=object)


def _plain(value: Any) -> Any:
    """A value of Java's as one of Python's."""
    if value is None or isinstance(value, str | bool):
        return value
    kind = type(value).__name__
    if kind.endswith("Boolean"):
        return bool(value)
    if isinstance(value, float):
        return float(value)
    return int(value) if isinstance(value, int) else str(value)
