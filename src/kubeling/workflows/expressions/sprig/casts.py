"""Conversions as forgiving as those sprig makes: what is no number counts as zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeling.workflows.expressions.errors import ExpressionError
from kubeling.workflows.expressions.gotext import go_text

__all__ = ["is_empty", "members", "to_float", "to_int", "to_text", "to_texts"]


def to_int(value: Any) -> int:
    """Sprig's ``toInt64``."""
    match value:
        case bool():
            return int(value)
        case int() | float():
            return int(value)
        case str():
            text = value.strip().replace("_", "")
            try:
                return int(text, 0) if text.lower()[:2] in ("0x", "0b", "0o") else int(text)
            except ValueError:
                return int(to_float(text))
    return 0


def to_float(value: Any) -> float:
    """Sprig's ``toFloat64``."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0


def to_text(value: Any) -> str:
    """Sprig's ``strval``."""
    return go_text(value)


def to_texts(value: Any) -> list[str]:
    """Sprig's ``strslice``: a list of texts, nil left out."""
    if value is None:
        return []
    listed = value if isinstance(value, list) else [value]
    return [to_text(one) for one in listed if one is not None]


def members(value: Any, name: str) -> list[Any]:
    """The value, which must be a list."""
    if isinstance(value, list):
        return value
    raise ExpressionError(f"cannot find {name} on type {type(value).__name__}")


def is_empty(value: Any) -> bool:
    """Whether a value is its type's zero."""
    if value is None or value is False:
        return True
    if isinstance(value, str | list | Mapping):
        return len(value) == 0
    return isinstance(value, int | float) and value == 0
