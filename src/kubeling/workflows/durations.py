"""Go's durations (``1h30m``, ``500ms``), and bare numbers of seconds."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["parse_duration"]

_UNITS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86400,
}
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d)")


def parse_duration(value: Any) -> float:
    """Seconds; raises :class:`ValueError` saying what a duration looks like."""
    text = str(value).strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or _PART.sub("", text):
        raise ValueError(f'"{text}" is not a duration; write for example "30s", "5m" or "1h30m"')
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
