"""LightGBM boosters, as saved by ``save_model``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeling.serving.server.errors import ModelLoadError
from kubeling.serving.server.formats import library, threads
from kubeling.serving.server.tabular import TabularModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["create"]


def create(name: str, directory: Path) -> TabularModel:
    """The model of a folder."""
    return LightGBMModel(name, directory)


class LightGBMModel(TabularModel):
    """Predicts raw rows."""

    suffixes = (".bst", ".txt")
    format_name = "lightgbm"
    platform = "lightgbm"

    def load_file(self, file: Path) -> None:
        lightgbm = library("lightgbm")
        try:
            self.original = lightgbm.Booster(model_file=str(file))
        except lightgbm.basic.LightGBMError as error:
            raise ModelLoadError(
                f"{file.name} is not a LightGBM model; save it with save_model()"
            ) from error
        self._threads = threads()
        self.width = self.original.num_feature()
        self.columns = list(self.original.feature_name())

    def predict_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = self.original.predict(rows, num_threads=self._threads)
        return found
