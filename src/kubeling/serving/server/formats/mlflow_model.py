"""MLflow models: a folder with ``MLmodel``, served through its python_function flavour."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kubeling.serving.server.errors import InvalidInput, ModelLoadError
from kubeling.serving.server.formats import library
from kubeling.serving.server.tabular import TabularModel, first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["create"]


def create(name: str, directory: Path) -> TabularModel:
    """The model of a folder."""
    return MLflowModel(name, directory)


class MLflowModel(TabularModel):
    """Rows become a table with the signature's columns and types, if it names columns."""

    suffixes = ("MLmodel",)
    format_name = "mlflow"
    platform = "mlflow"

    def load(self) -> bool:
        found = sorted(self.directory.rglob("MLmodel"))
        if len(found) != 1:
            raise ModelLoadError(
                f"a model of format mlflow is a folder with one MLmodel file, but {self.directory} "
                f"holds {len(found)}; check storageUri"
            )
        self.load_file(found[0])
        self.probed = self._probe()
        return True

    def load_file(self, file: Path) -> None:
        pyfunc = library("mlflow.pyfunc")
        try:
            self._model = pyfunc.load_model(str(file.parent))
        except ModuleNotFoundError as error:
            raise ModelLoadError(
                f"the model needs the Python package {error.name}, which the runtime does not "
                f"have; its requirements.txt names what to add to the runtime's image"
            ) from error
        except Exception as error:
            # A flavour may raise anything while it loads.
            raise ModelLoadError(f"{type(error).__name__}: {first_line(error)}") from error
        self._types: dict[str, Any] = {}
        schema = self._model.metadata.get_input_schema()
        if schema is not None and schema.has_input_names() and not schema.is_tensor_spec():
            self.columns = list(schema.input_names())
            self.width = len(self.columns)
            self._types = dict(zip(self.columns, schema.pandas_types(), strict=True))

    def predict_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self._model.predict(self._table(rows)))

    def _table(self, rows: NDArray[Any]) -> Any:
        if not self.columns:
            return rows
        table = library("pandas").DataFrame(rows, columns=self.columns)
        try:
            return table.astype(self._types)
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"the signature wants other types: {first_line(error)}") from None
