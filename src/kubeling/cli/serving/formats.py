"""Which format a model's files have, told from their names, and where two share one by their start.

The names of formats are those of KServe's ``modelFormat``. A folder that could be two things is no
guess of ours: the user says which.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Final

from kubeling.cli.errors import CliError

__all__ = ["FORMATS", "format_of", "format_of_address"]

_BY_SUFFIX: Final = {
    ".joblib": "sklearn",
    ".pkl": "sklearn",
    ".pickle": "sklearn",
    ".onnx": "onnx",
    ".ubj": "xgboost",
    ".model": "xgboost",
    ".bst": "xgboost",
    ".cbm": "catboost",
    ".pt": "pytorch",
    ".pt2": "pytorch",
    ".pth": "pytorch",
    ".mar": "pytorch",
    ".pmml": "pmml",
    ".pdmodel": "paddle",
    ".pdiparams": "paddle",
    ".keras": "tensorflow",
    ".safetensors": "huggingface",
}
_BY_NAME: Final = {"saved_model.pb": "tensorflow", "MLmodel": "mlflow"}
_LIGHTGBM: Final = re.compile(rb"\s*tree\s*\n")
_XGBOOST: Final = re.compile(rb'\s*\{\s*"(?:learner|version)"\s*:')
_ENDINGS: Final = (
    ", ".join(_BY_SUFFIX)
    + ", .json (XGBoost), .txt (LightGBM) or are called "
    + " or ".join(_BY_NAME)
)
FORMATS: Final = tuple(sorted({*_BY_SUFFIX.values(), *_BY_NAME.values(), "lightgbm"}))
"""The names to choose from, where files tell none."""


def format_of(place: Path) -> str:
    """The format of a file, or of the model in a folder."""
    files = [place] if place.is_file() else _files(place)
    found = {kind for file in files if (kind := _format(file))}
    if "MLmodel" in {file.name for file in files}:
        return _BY_NAME["MLmodel"]
    if len(found) == 1:
        return found.pop()
    if found:
        raise CliError(
            f"{place} could be a model of {' or '.join(sorted(found))}",
            "Say which with --format, or serve one of its files.",
        )
    if place.is_dir() and not any(place.iterdir()):
        raise CliError(f"{place} is empty", "Save the model there first.")
    there = ", ".join(sorted(file.name for file in files)[:5]) or "folders only"
    raise CliError(
        f"{place} holds no model whose format is known: {there}",
        f"Files that are known end in {_ENDINGS}; say another with --format.",
    )


def format_of_address(uri: str) -> str:
    """The format that the last part of an address tells; empty if it tells none."""
    return _BY_SUFFIX.get(PurePosixPath(uri.partition("?")[0]).suffix, "")


def _files(folder: Path) -> list[Path]:
    """A folder's files, or those of its newest version where versions are numbered folders."""
    here = [path for path in folder.iterdir() if path.is_file()]
    versions = [path for path in folder.iterdir() if path.is_dir() and path.name.isdecimal()]
    if versions and not any(_format(file) for file in here):
        newest = max(versions, key=lambda path: int(path.name))
        return [path for path in newest.iterdir() if path.is_file()]
    return here


def _format(file: Path) -> str:
    if known := _BY_NAME.get(file.name):
        return known
    if file.suffix not in (".bst", ".json", ".txt"):
        return _BY_SUFFIX.get(file.suffix, "")
    with file.open("rb") as opened:
        start = opened.read(64)
    if _LIGHTGBM.match(start):
        return "lightgbm"
    if file.suffix == ".json" and not _XGBOOST.match(start):
        return ""
    return "" if file.suffix == ".txt" else "xgboost"
