"""CatBoost models, as saved by ``save_model``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kubeling.serving.server.errors import ModelLoadError
from kubeling.serving.server.formats import library, threads
from kubeling.serving.server.tabular import TabularModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["create"]


def create(name: str, directory: Path) -> TabularModel:
    """The model of a folder."""
    return CatBoostModel(name, directory)


class CatBoostModel(TabularModel):
    """Predicts labels or values, or probabilities if ``PREDICT_PROBA=true``."""

    suffixes = (".cbm",)
    format_name = "catboost"
    platform = "catboost"

    def load_file(self, file: Path) -> None:
        catboost = library("catboost")
        model = catboost.CatBoost()
        try:
            model.load_model(str(file))
        except catboost.CatBoostError as error:
            raise ModelLoadError(
                f"{file.name} is not a CatBoost model; save it with save_model()"
            ) from error
        classes = len(model.classes_) > 0
        probabilities = os.environ.get("PREDICT_PROBA", "").lower() == "true"
        if probabilities and not classes:
            raise ModelLoadError("PREDICT_PROBA is set, but the model is no classifier")
        self._type = "Probability" if probabilities else "Class" if classes else "RawFormulaVal"
        self._model = model
        self._texts = bool(model.get_cat_feature_indices() or model.get_text_feature_indices())
        self._threads = threads()
        self.columns = list(model.feature_names_)
        self.width = len(self.columns)

    def predict_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        given: Any = rows.astype(object).tolist() if self._texts else rows
        found = np.asarray(
            self._model.predict(given, prediction_type=self._type, thread_count=self._threads)
        )
        # Labels of several classes come one to a row of their own.
        labels = self._type == "Class" and found.ndim == 2
        return found[:, 0] if labels else found
