"""Which columns of a fitted pipeline hold text, by the encoders that it sends them to.

A table's columns are of several types and a pickled pipeline keeps none of them; its encoders keep
the categories that they were fitted on, which is what a person has to know to ask the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

__all__ = ["text_categories"]

_MOST: Final = 20
"""Categories of a column that are shown."""


def text_categories(estimator: Any) -> dict[str, list[str]]:
    """By column, the first categories of those that are text."""
    found: dict[str, list[str]] = {}
    for columns, encoder in _encoders(estimator):
        for column, categories in zip(columns, encoder.categories_, strict=False):
            texts = [value for value in categories if isinstance(value, str)]
            if isinstance(column, str) and texts:
                found[column] = texts[:_MOST]
    return found


def _encoders(estimator: Any) -> Iterator[tuple[list[Any], Any]]:
    for step in _steps(estimator):
        for _, transformer, columns in getattr(step, "transformers_", ()):
            titles = [columns] if isinstance(columns, str) else columns
            for inner in _steps(transformer):
                if hasattr(inner, "categories_") and hasattr(titles, "__iter__"):
                    yield list(titles), inner


def _steps(estimator: Any) -> list[Any]:
    """The parts of a pipeline, or the one thing."""
    return [step for _, step in getattr(estimator, "steps", ())] or [estimator]
