"""What transformers models that classify answer: the likeliest class, or what is thought of all.

Source: kserve's python/huggingfaceserver (encoder_model.py). Of all classes a row's answer is an
object by their numbers; in a tensor of V2 that is a text, as upstream sends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kubeling.serving.server.formats.huggingface_options import Answers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["as_tensor", "of_masks", "of_rows", "of_tokens"]

_NO_LABEL: Final = -100
"""Where a text has no more tokens, but others do: what PyTorch's losses pass over."""


def of_rows(logits: Any, answers: Answers) -> Array:
    """One answer a row."""
    if answers == "labels":
        return np.asarray(logits.argmax(-1))
    return _objects([_told(row, answers) for row in logits])


def of_tokens(logits: Any, mask: Any, answers: Answers) -> Array:
    """An answer for each token of a row, as many as it has."""
    rows = [row[kept.bool()] for row, kept in zip(logits, mask, strict=True)]
    if answers == "labels":
        return _objects([[row.argmax(-1).tolist()] for row in rows])
    return _objects([[_told(token, answers) for token in row] for row in rows])


def of_masks(logits: Any, masked: Any, answers: Answers) -> Array:
    """For each mask of a row, what is thought of every word."""
    rows = [row[mask] for row, mask in zip(logits, masked, strict=True)]
    return _objects([[_words(one, answers) for one in row] for row in rows])


def as_tensor(rows: Array) -> Array:
    """Rows of V1 as a tensor of V2."""
    first = rows[0] if len(rows) else ""
    if isinstance(first, dict):
        return _objects([str(row) for row in rows])
    if not isinstance(first, list) or not first:
        return rows
    if isinstance(first[0], list) and not isinstance(first[0][0], dict):
        longest = max(len(row[0]) for row in rows)
        found = np.full((len(rows), 1, longest), _NO_LABEL, dtype=np.int64)
        for place, (labels,) in enumerate(rows):
            found[place, 0, : len(labels)] = labels
        return found
    longest = max(map(len, rows))
    told = np.full((len(rows), longest), "", dtype=object)
    for place, row in enumerate(rows):
        told[place, : len(row)] = [str(one) for one in row]
    return told


def _told(logits: Any, answers: Answers) -> dict[int, float]:
    if answers == "logits":
        return dict(enumerate(logits.tolist()))
    return {n: float(f"{p:.4f}") for n, p in enumerate(logits.softmax(-1).tolist())}


def _words(logits: Any, answers: Answers) -> list[dict[int, Any]]:
    if answers == "logits":
        return [{n: value} for n, value in enumerate(logits.tolist())]
    return [{n: f"{p:.4f}"} for n, p in enumerate(logits.softmax(-1).tolist())]


def _objects(rows: list[Any]) -> Array:
    found = np.empty(len(rows), dtype=object)
    found[:] = rows
    return found
