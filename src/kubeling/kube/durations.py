"""Durations: as kubectl prints them, and as Go and so every manifest writes them."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["human_duration", "parse_duration"]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400

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


def human_duration(seconds: float) -> str:
    """``45s``, ``3m20s``, ``25m``, ``5h10m``, ``4d2h``: as apimachinery's HumanDuration."""
    whole = int(seconds)
    if whole < 0:
        return "0s"
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 10 * _MINUTE:
        return _pair(whole // _MINUTE, "m", whole % _MINUTE, "s")
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        return _pair(whole // _HOUR, "h", whole % _HOUR // _MINUTE, "m")
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    if whole < 8 * _DAY:
        return _pair(whole // _DAY, "d", whole % _DAY // _HOUR, "h")
    if whole < 2 * 365 * _DAY:
        return f"{whole // _DAY}d"
    return _pair(whole // (365 * _DAY), "y", whole % (365 * _DAY) // _DAY, "d")


def _pair(first: int, unit: str, second: int, smaller: str) -> str:
    return f"{first}{unit}{second}{smaller}" if second else f"{first}{unit}"


def parse_duration(value: Any) -> float:
    """Seconds of ``1h30m``, ``500ms`` or a bare number; raises :class:`ValueError` for others."""
    text = str(value).strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or _PART.sub("", text):
        raise ValueError(f'"{text}" is not a duration; write for example "30s", "5m" or "1h30m"')
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
