"""Rows and predictions from recorded requests, whichever protocol they came by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import ProxyHandler, build_opener

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["lines_of", "predictions_of", "rows_of", "table_of"]


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
    if not isinstance(request, dict):
        return []
    given = request.get("instances", request.get("inputs"))
    if not isinstance(given, list) or not given:
        return []
    if isinstance(given[0], dict) and "datatype" in given[0]:
        return _tensor_rows(given)
    return [_row(row) for row in given]


def predictions_of(response: Any) -> list[Any]:
    """The predictions of one answer, where each is one value."""
    if not isinstance(response, dict):
        return []
    found = response.get("predictions")
    if found is None:
        outputs = response.get("outputs") or [{}]
        found = outputs[0].get("data") if isinstance(outputs[0], dict) else None
    if not isinstance(found, list):
        return []
    return [value for value in found if isinstance(value, str | int | float)]


def _row(row: Any) -> list[Any]:
    if isinstance(row, dict):
        return list(row.values())
    return row if isinstance(row, list) else [row]


def _tensor_rows(tensors: list[Any]) -> list[list[Any]]:
    columns = [
        np.asarray(tensor.get("data"), dtype=object).reshape(tensor["shape"][0], -1)
        for tensor in tensors
    ]
    found: list[list[Any]] = np.concatenate(columns, axis=1).tolist()
    return found


def _array(rows: list[Any]) -> Array:
    try:
        return np.asarray(rows)
    except ValueError:
        raise ValueError("the recorded rows differ in their number of features") from None
