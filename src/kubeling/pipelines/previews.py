"""What a page needs to draw an artifact: numbers, curves, matrices, text, tables. Pure.

Metrics are in an artifact's metadata, as the SDK's types write them (``artifact_types.py``); what
others show is in their file, of which the beginning is enough.
"""

from __future__ import annotations

import csv
import io
import mimetypes
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kubeling.kube.objects import Obj

__all__ = ["HEAD", "metadata_preview", "text_preview"]

HEAD: Final = 1 << 20
"""How many bytes of a file are looked at."""

_ROWS: Final = 200
_SEPARATORS: Final = {"text/csv": ",", "text/tab-separated-values": "\t"}


def metadata_preview(title: str, metadata: Mapping[str, Any]) -> Obj | None:
    """The preview of a kind of metrics; ``None`` for artifacts that show a file."""
    match title:
        case "system.Metrics":
            return {"kind": "metrics", "metrics": _numbers(metadata)}
        case "system.ClassificationMetrics":
            return {"kind": "classification", **_classification(metadata)}
        case "system.SlicedClassificationMetrics":
            return {"kind": "sliced_classification", "slices": _slices(metadata)}
        case _:
            return None


def text_preview(title: str, name: str, head: bytes, size: int) -> Obj:
    """The preview of a file by its type and its beginning, at most :data:`HEAD` bytes."""
    kind = mimetypes.guess_type(name)[0] or ""
    shown: Obj = {"size": size, "truncated": size > len(head)}
    if kind.startswith("image/"):
        return {"kind": "image", "content_type": kind, **shown}
    text = _text(head)
    if text is None:
        return {"kind": "binary", **shown}
    if title == "system.HTML" or kind == "text/html":
        return {"kind": "html", "text": text, **shown}
    if title == "system.Markdown" or kind == "text/markdown":
        return {"kind": "markdown", "text": text, **shown}
    separator = _SEPARATORS.get(kind)
    if separator is not None and (table := _table(text, separator)) is not None:
        return {"kind": "table", **table, **shown}
    if kind == "application/json" and not shown["truncated"]:
        try:
            return {"kind": "json", "value": msgspec.json.decode(head), **shown}
        except msgspec.DecodeError:
            pass
    return {"kind": "text", "text": text, **shown}


def _numbers(metadata: Mapping[str, Any]) -> Obj:
    return {
        key: value
        for key, value in metadata.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _classification(metadata: Mapping[str, Any]) -> Obj:
    found: Obj = {}
    if points := [_point(entry) for entry in _list(metadata.get("confidenceMetrics"))]:
        found["roc"] = points
    matrix = metadata.get("confusionMatrix")
    if isinstance(matrix, Mapping):
        labels = [_label(entry) for entry in _list(matrix.get("annotationSpecs"))]
        rows = [_list(_of(entry, "row")) for entry in _list(matrix.get("rows"))]
        if labels and rows:
            found["confusion_matrix"] = {"labels": labels, "rows": rows}
    return found


def _point(entry: Any) -> Obj:
    """A point of the curve; proto-JSON leaves out what is 0."""
    return {
        "threshold": _of(entry, "confidenceThreshold") or 0.0,
        "recall": _of(entry, "recall") or 0.0,
        "false_positive_rate": _of(entry, "falsePositiveRate") or 0.0,
    }


def _slices(metadata: Mapping[str, Any]) -> list[Obj]:
    return [
        {
            "slice": str(_of(entry, "slice") or ""),
            **_classification(_of(entry, "sliceClassificationMetrics") or {}),
        }
        for entry in _list(metadata.get("evaluationSlices"))
    ]


def _label(entry: Any) -> str:
    return str(_of(entry, "displayName") or "")


def _of(entry: Any, key: str) -> Any:
    return entry.get(key) if isinstance(entry, Mapping) else None


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _text(head: bytes) -> str | None:
    """The beginning as text, if it is; a character may be cut in two at its end."""
    if b"\0" in head:
        return None
    try:
        return head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return None
        return head[: error.start].decode()


def _table(text: str, separator: str) -> Obj | None:
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=separator))
    except csv.Error:  # a cell of more than 128 KiB: no table that anybody reads
        return None
    if not text.endswith("\n") and len(rows) > 1 and len(text.encode()) >= HEAD:
        rows.pop()  # cut in two
    header, *body = rows or [[]]
    return {"header": header, "rows": body[:_ROWS], "more_rows": len(body) > _ROWS}
