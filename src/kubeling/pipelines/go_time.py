"""Times written by a layout of Go's, whose users write how one certain moment would look. Pure.

``[[ScheduledTime.2006-01-02]]`` is such a layout. Upstream: ``time.Format`` of Go's library.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["format_time"]

_PARTS: Final[Mapping[str, Callable[[dt.datetime], str]]] = {
    "January": lambda t: t.strftime("%B"),
    "Jan": lambda t: t.strftime("%b"),
    "Monday": lambda t: t.strftime("%A"),
    "Mon": lambda t: t.strftime("%a"),
    "MST": lambda t: t.strftime("%Z"),
    "2006": lambda t: f"{t.year:04d}",
    "002": lambda t: f"{t.timetuple().tm_yday:03d}",
    "__2": lambda t: f"{t.timetuple().tm_yday:3d}",
    "_2": lambda t: f"{t.day:2d}",
    "01": lambda t: f"{t.month:02d}",
    "02": lambda t: f"{t.day:02d}",
    "03": lambda t: f"{(t.hour + 11) % 12 + 1:02d}",
    "04": lambda t: f"{t.minute:02d}",
    "05": lambda t: f"{t.second:02d}",
    "06": lambda t: f"{t.year % 100:02d}",
    "15": lambda t: f"{t.hour:02d}",
    "PM": lambda t: "AM" if t.hour < 12 else "PM",
    "pm": lambda t: "am" if t.hour < 12 else "pm",
    "Z07:00": lambda t: _offset(t, ":") or "Z",
    "Z0700": lambda t: _offset(t, "") or "Z",
    "-07:00": lambda t: _offset(t, ":") or "+00:00",
    "-0700": lambda t: _offset(t, "") or "+0000",
    "-07": lambda t: (_offset(t, "") or "+0000")[:3],
    "1": lambda t: str(t.month),
    "2": lambda t: str(t.day),
    "3": lambda t: str((t.hour + 11) % 12 + 1),
    "4": lambda t: str(t.minute),
    "5": lambda t: str(t.second),
}
_FRACTION: Final = r"[.,](?:0+|9+)(?!\d)"
_NAMES: Final = {"Jan": r"Jan(?![a-z])", "Mon": r"Mon(?![a-z])"}
_ANY: Final = re.compile(
    "|".join(
        [
            *(
                _NAMES.get(part, re.escape(part))
                for part in sorted(_PARTS, key=lambda part: -len(part))
            ),
            _FRACTION,
        ]
    )
)


def format_time(moment: dt.datetime, layout: str) -> str:
    """The moment in the layout; what stands for nothing stays as it is."""

    def write(match: re.Match[str]) -> str:
        part = match[0]
        known = _PARTS.get(part)
        return known(moment) if known is not None else _fraction(moment, part)

    return _ANY.sub(write, layout)


def _fraction(moment: dt.datetime, part: str) -> str:
    digits = f"{moment.microsecond:06d}000"[: len(part) - 1]
    if part[1] == "0":
        return part[0] + digits
    digits = digits.rstrip("0")
    return part[0] + digits if digits else ""


def _offset(moment: dt.datetime, separator: str) -> str:
    """``+02:00``, and nothing at Greenwich."""
    seconds = int((moment.utcoffset() or dt.timedelta()).total_seconds())
    if not seconds:
        return ""
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'+' if seconds > 0 else '-'}{hours:02d}{separator}{minutes:02d}"
