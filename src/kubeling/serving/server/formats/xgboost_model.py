"""XGBoost boosters, as saved by ``save_model``."""

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
    return XGBoostModel(name, directory)


class XGBoostModel(TabularModel):
    """Predicts in place: building a matrix per request would cost more than the trees."""

    suffixes = (".json", ".ubj", ".bst", ".model")
    format_name = "xgboost"
    platform = "xgboost"
    datatype = "FP32"
    shared = True

    def load_file(self, file: Path) -> None:
        xgboost = library("xgboost")
        booster = xgboost.Booster({"nthread": threads()})
        try:
            booster.load_model(file)
        except xgboost.core.XGBoostError as error:
            raise ModelLoadError(
                f"{file.name} is not an XGBoost model; save it with save_model()"
            ) from error
        self.original = booster
        self.width = booster.num_features()
        self.columns = list(booster.feature_names) if booster.feature_names else None

    def predict_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = self.original.inplace_predict(
            rows.astype("float32", copy=False), validate_features=False
        )
        return found
