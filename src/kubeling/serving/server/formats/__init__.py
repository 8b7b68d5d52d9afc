"""Model formats by name. Each lives in a module of its own, imported only when it is served."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, Final

from kubeling.serving.server.errors import ModelLoadError
from kubeling.serving.server.model import Model
from kubeling.serving.server.processors import processors

__all__ = ["FORMATS", "at_once", "create_model", "library", "threads"]

FORMATS: Final = {
    "sklearn": "scikit-learn",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "onnx": "onnxruntime",
    "tensorflow": "tensorflow",
    "pytorch": "torch",
    "catboost": "catboost",
    "mlflow": "mlflow-skinny",
    "huggingface": "transformers",
    "pmml": "pypmml",
    "paddle": "paddlepaddle",
}
"""The formats served, with the package each needs."""

_MODULES: Final = {"sklearn": "joblib", "mlflow": "mlflow.pyfunc"}
"""Modules that come with the package under another name."""

_TELLS_NOBODY: Final = ("ORT_DISABLE_TELEMETRY", "1")
"""Without it ONNX Runtime keeps a database below HOME, and a thread that reports to Microsoft."""


def create_model(format_name: str, name: str, directory: Path, **options: Any) -> Model:
    """The model of a folder, not loaded yet; raises :class:`ModelLoadError`.

    ``options`` are what the format's module takes besides.
    """
    if format_name not in FORMATS:
        raise ModelLoadError(f'unknown format "{format_name}"; known: {", ".join(FORMATS)}')
    if not directory.is_dir():
        raise ModelLoadError(f"there is no folder {directory}; did fetching the model end well?")
    module = importlib.import_module(f"kubeling.serving.server.formats.{format_name}_model")
    model: Model = module.create(name, directory, **options)
    return model


def threads() -> int:
    """How many threads a prediction may use (``NTHREAD``); raises :class:`ModelLoadError`."""
    text = os.environ.get("NTHREAD", "1")
    if not text.isdecimal():
        raise ModelLoadError(f'NTHREAD is "{text}"; set it to a number of threads')
    return int(text)


def at_once() -> int:
    """How many predictions with that many threads each the processors are for."""
    each = threads()
    return max(1, processors() // each) if each else 1


def library(name: str) -> Any:
    """A format's own package: optional, imported when it is needed, and mostly untyped."""
    os.environ.setdefault(*_TELLS_NOBODY)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = next((p for f, p in FORMATS.items() if name in (f, p, _MODULES.get(f))), name)
        raise ModelLoadError(
            f"the Python package {error.name} is not installed, which this format needs; "
            f"add {package} to the runtime's image"
        ) from error
