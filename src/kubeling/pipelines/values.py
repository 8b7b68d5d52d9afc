"""Parameter values: their types, and the text they become in a command line.

Values travel through protobuf's ``Value``, where every number is a double: 3 arrives as 3.0 and
must become 3 again before a step sees it.
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

__all__ = ["ValueMismatch", "coerce", "from_text", "normalize", "to_text"]

_EXACT: Final = 2.0**53
_TRUE: Final = frozenset({"true", "True", "TRUE", "1"})
_FALSE: Final = frozenset({"false", "False", "FALSE", "0"})


class ValueMismatch(ValueError):
    """A value does not fit the parameter's type."""


def normalize(value: Any) -> Any:
    """The value with whole doubles as integers, throughout."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    if isinstance(value, list | tuple):
        return [normalize(item) for item in value]
    if isinstance(value, dict):
        return {key: normalize(item) for key, item in value.items()}
    return value


def coerce(value: Any, kind: str) -> Any:
    """The value as a parameter of a type has it; raises :class:`ValueMismatch`.

    Anything becomes text where text is wanted; text becomes anything it spells.
    """
    match kind:
        case "STRING":
            return value if isinstance(value, str) else to_text(normalize(value))
        case "NUMBER_INTEGER":
            return _integer(value)
        case "NUMBER_DOUBLE":
            return _double(value)
        case "BOOLEAN":
            return _boolean(value)
        case "LIST":
            return _container(value, list, "a list")
        case "STRUCT" | "TASK_FINAL_STATUS" | "TASK_CONFIG":
            return _container(value, dict, "a mapping")
        case _:
            return normalize(value)


def from_text(text: str, kind: str) -> Any:
    """What a step wrote to an output parameter's file."""
    return text if kind == "STRING" else coerce(text.strip(), kind)


def to_text(value: Any) -> str:
    """A value in a command line: text as it is, the rest as JSON with whole numbers whole."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return msgspec.json.encode(normalize(value)).decode()


def _integer(value: Any) -> int:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            try:
                return _integer(float(value))
            except ValueError:
                pass
    raise _mismatch(value, "an integer")


def _double(value: Any) -> float:
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    raise _mismatch(value, "a number")


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = to_text(value)
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise _mismatch(value, "true or false")


def _container(value: Any, wanted: type, called: str) -> Any:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            raise _mismatch(value, called) from None
    if not isinstance(value, wanted):
        raise _mismatch(value, called)
    return normalize(value)


def _mismatch(value: Any, wanted: str) -> ValueMismatch:
    shown = to_text(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return ValueMismatch(f"{wanted} is expected, not {shown!r}")
