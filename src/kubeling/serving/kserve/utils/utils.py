"""What ``kserve.utils.utils`` has for models: the input of either protocol, and answers to it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

from kubeling.serving.server import tensors
from kubeling.serving.server.errors import InvalidInput
from kubeling.serving.server.formats import library
from kubeling.serving.server.infer_types import InferOutput, InferRequest, InferResponse
from kubeling.serving.server.rows import array_of_rows, rows_of

__all__ = ["generate_uuid", "get_predict_input", "get_predict_response", "strtobool"]


def generate_uuid() -> str:
    """A random id."""
    return str(uuid.uuid4())


def strtobool(val: str) -> bool:
    """Whether a word means yes; raises :class:`ValueError` if it means neither yes nor no."""
    if val.lower() in ("y", "yes", "t", "true", "on", "1"):
        return True
    if val.lower() in ("n", "no", "f", "false", "off", "0"):
        return False
    raise ValueError(f"{val!r} is neither true nor false")


def get_predict_input(payload: Any, columns: Sequence[str] | None = None) -> Any:
    """The rows of a request: an array, a list of strings, or a table where they have names."""
    if isinstance(payload, InferRequest):
        if (payload.parameters or {}).get("content_type") == "pd":
            return payload.as_dataframe()
        first = payload.inputs[0]
        return first.as_string() if first.datatype == "BYTES" else first.as_numpy()
    rows = rows_of(payload)
    if rows and (isinstance(rows[0], dict) or _holds_objects(rows[0])):
        flat = [row for group in rows for row in (group if isinstance(group, list) else [group])]
        return library("pandas").DataFrame(flat, columns=columns)
    return rows if rows and isinstance(rows[0], str) else array_of_rows(rows)


def get_predict_response(payload: Any, result: Any, model_name: str) -> Any:
    """An answer in the protocol of the request; a table's columns are outputs of their own."""
    table = hasattr(result, "to_dict") and hasattr(result, "columns")
    if isinstance(payload, dict):
        found = result.to_dict(orient="records") if table else result
        return {"predictions": tensors.to_json(found)}
    if not isinstance(payload, InferRequest):
        raise InvalidInput(f"unsupported payload type {type(payload)}")
    named = {c: result[c] for c in result.columns} if table else {"output-0": result}
    outputs = [InferOutput.of(str(name), np.asarray(values)) for name, values in named.items()]
    return InferResponse(
        payload.id or generate_uuid(),
        model_name,
        outputs,
        use_binary_outputs=payload.use_binary_outputs,
        requested_outputs=payload.request_outputs,
    )


def _holds_objects(row: Any) -> bool:
    return isinstance(row, list) and bool(row) and isinstance(row[0], dict)
