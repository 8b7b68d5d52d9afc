"""scikit-learn estimators and pipelines, pickled by joblib or pickle."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kubeling.serving.server.errors import ModelLoadError
from kubeling.serving.server.formats import library
from kubeling.serving.server.formats.pickles import unreadable
from kubeling.serving.server.formats.sklearn_columns import text_categories
from kubeling.serving.server.tabular import TabularModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["create"]

_ALONE: Final = threading.Lock()
"""Held by who collects warnings, which Python does for all threads together."""


def create(name: str, directory: Path) -> TabularModel:
    """The model of a folder."""
    return SklearnModel(name, directory)


class SklearnModel(TabularModel):
    """Predicts with ``predict``, or with ``predict_proba`` if ``PREDICT_PROBA=true``."""

    suffixes = (".joblib", ".pkl", ".pickle")
    format_name = "sklearn"
    platform = "sklearn"
    _categories: Mapping[str, list[str]] = {}

    def load_file(self, file: Path) -> None:
        try:
            estimator, self.saved_with = _loaded(file)
        except Exception as error:
            raise ModelLoadError(unreadable(file, error)) from error
        if not hasattr(estimator, "predict"):
            raise ModelLoadError(
                f"{file.name} holds a {type(estimator).__name__}, not an estimator"
            )
        self._predict = _method(estimator)
        names = getattr(estimator, "feature_names_in_", None)
        self.columns = None if names is None else [str(column) for column in names]
        self.width = getattr(estimator, "n_features_in_", None)
        self._pandas = library("pandas") if names is not None and _wants_frame(estimator) else None
        self.original = None if self._pandas else estimator
        self._categories = text_categories(estimator) if self._pandas else {}

    def get_parameters(self) -> dict[str, Any]:
        found = super().get_parameters()
        return {**found, "categories": self._categories} if self._categories else found

    def forget(self) -> None:
        super().forget()
        del self._predict

    def predict_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = self._predict(self._table(rows))
        return found

    def _table(self, rows: NDArray[Any]) -> Any:
        if self._pandas is None:
            return rows
        return self._pandas.DataFrame(rows, columns=self.columns)


def _loaded(file: Path) -> tuple[Any, str]:
    """The estimator, and what saved it, if that is not what loads it."""
    joblib = library("joblib")
    caught: list[warnings.WarningMessage] = []
    try:
        with _ALONE, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator = joblib.load(file)
    finally:
        for one in caught:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    versions = [getattr(one.message, "original_sklearn_version", "") for one in caught]
    return estimator, next((f"scikit-learn {version}" for version in versions if version), "")


def _method(estimator: Any) -> Any:
    if os.environ.get("PREDICT_PROBA", "").lower() == "true":
        if not hasattr(estimator, "predict_proba"):
            raise ModelLoadError(
                f"PREDICT_PROBA is set, but {type(estimator).__name__} has no predict_proba"
            )
        return estimator.predict_proba
    return estimator.predict


def _wants_frame(estimator: Any) -> bool:
    """Whether it was fitted on a table whose columns it picks by name."""
    steps = [step for _, step in getattr(estimator, "steps", ())]
    return any(type(step).__name__ == "ColumnTransformer" for step in [estimator, *steps])
