"""Rows and predictions from recorded requests, whichever protocol they came by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import ProxyHandler, build_opener

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = [
    "lines_of",
    "named_rows",
    "one_prediction",
    "predictions_of",
    "rows_of",
    "table_of",
    "tensor_rows",
]


def lines_of(where: str) -> Iterator[bytes]:
    """The lines of a log: a file, a folder of ``*.jsonl``, or an address."""
    if where.startswith(("http://", "https://")):
        # Pods answer in the cluster: no proxy is asked, whatever the environment says.
        with build_opener(ProxyHandler({})).open(where, timeout=60) as answer:
            yield from answer
        return
    path = Path(where.removeprefix("file://"))
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as opened:
            yield from opened


def table_of(lines: Iterable[bytes]) -> tuple[Array, Array]:
    """All rows, and all predictions, of the requests that were answered."""
    rows: list[list[Any]] = []
    predictions: list[Any] = []
    for line in lines:
        if not line.strip():
            continue
        record = msgspec.json.decode(line)
        if record.get("status", 200) == 200:
            rows += rows_of(record.get("request"))
            predictions += predictions_of(record.get("response"))
    return _array(rows), _array(predictions)


def rows_of(request: Any) -> list[list[Any]]:
    """The rows of one request; an object's values in the order of its keys."""
    return named_rows(request)[1]


def named_rows(request: Any) -> tuple[list[str], list[list[Any]]]:
    """The names of the features, where the request has them, and its rows."""
    if not isinstance(request, dict):
        return [], []
    given = request.get("instances", request.get("inputs"))
    if not isinstance(given, list) or not given:
        return [], []
    if isinstance(given[0], dict) and "datatype" in given[0]:
        return tensor_rows([(t.get("name"), t.get("data"), t["shape"]) for t in given])
    if isinstance(given[0], dict):
        names = list(given[0])
        return names, [[row.get(title) for title in names] for row in given]
    return [], [row if isinstance(row, list) else [row] for row in given]


def tensor_rows(
    tensors: Iterable[tuple[Any, Any, Sequence[int]]],
) -> tuple[list[str], list[list[Any]]]:
    """The rows of tensors side by side, and their names if each of them is one feature."""
    columns, names = [], []
    for name, data, shape in tensors:
        columns.append(np.asarray(data, dtype=object).reshape(shape[0], -1))
        names.append(str(name))
    rows: list[list[Any]] = np.concatenate(columns, axis=1).tolist()
    named = len(columns) > 1 and all(column.shape[1] == 1 for column in columns)
    return (names if named else []), rows


def predictions_of(response: Any) -> list[Any]:
    """One prediction per row: a value, or of a list of numbers the place of the largest.

    What has no such form (boxes, long texts in objects) gives none.
    """
    if not isinstance(response, dict):
        return []
    found = response.get("predictions")
    if found is None:
        outputs = response.get("outputs") or [{}]
        found = _of_tensor(outputs[0]) if isinstance(outputs[0], dict) else None
    if not isinstance(found, list):
        return []
    return [value for one in found if (value := one_prediction(one)) is not None]


def one_prediction(value: Any) -> Any:
    """A prediction as one value, or ``None``."""
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, list) and value and all(isinstance(v, int | float) for v in value):
        return value[0] if len(value) == 1 else int(np.argmax(value))
    return None


def _of_tensor(output: dict[str, Any]) -> Any:
    data: Any = output.get("data")
    shape: Sequence[int] = output.get("shape") or ()
    if isinstance(data, list) and len(shape) == 2 and len(data) == shape[0] * shape[1]:
        return np.asarray(data, dtype=object).reshape(shape).tolist()
    return data


def _array(rows: list[Any]) -> Array:
    try:
        return np.asarray(rows)
    except ValueError:
        raise ValueError("the recorded rows differ in their number of features") from None
