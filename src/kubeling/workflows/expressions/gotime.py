"""Moments written and read by Go's layouts: ``2006-01-02 15:04:05`` shows how."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import Final

from kubeling.workflows.expressions.errors import ExpressionError

__all__ = ["LAYOUTS", "format_moment", "parse_moment", "zone"]

LAYOUTS: Final = (
    "2006-01-02", "15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04:05Z07:00",
    "02 Jan 06 15:04 MST", "Mon, 02 Jan 2006 15:04:05 MST", "Mon Jan _2 15:04:05 2006",
    "Mon Jan _2 15:04:05 MST 2006", "Monday, 02-Jan-06 15:04:05 MST",
    "Mon, 02 Jan 2006 15:04:05 -0700", "02 Jan 06 15:04 -0700",
)  # fmt: skip
"""Layouts tried where none is given."""

_PARTS: Final[dict[str, str]] = {
    "Monday": "%A", "Mon": "%a", "January": "%B", "Jan": "%b", "2006": "%Y", "06": "%y",
    "002": "%j", "01": "%m", "02": "%d", "15": "%H", "03": "%I", "04": "%M", "05": "%S",
    "PM": "%p", "MST": "%Z", "-07:00": "%z", "-0700": "%z", "Z07:00": "%z", "Z0700": "%z",
    "_2": "%d", "1": "%m", "2": "%d", "3": "%I", "4": "%M", "5": "%S",
}  # fmt: skip
_TOKEN: Final = re.compile(
    r"(?P<fraction>[.,][09]+)|"
    + "|".join(re.escape(part) for part in sorted(_PARTS, key=len, reverse=True))
)
_BARE: Final = ("_2", "1", "2", "3", "4", "5")


def zone(name: str) -> dt.tzinfo:
    """A time zone by its name."""
    if name in ("", "UTC"):
        return dt.UTC
    if name == "Local":
        return dt.datetime.now().astimezone().tzinfo or dt.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise ExpressionError(f"unknown time zone {name}") from None


def format_moment(moment: dt.datetime, layout: str) -> str:
    """The moment, written as the layout."""

    def shown(found: re.Match[str]) -> str:
        part = found.group()
        if found["fraction"]:
            digits = f"{moment.microsecond:06}000"[: len(part) - 1]
            if "9" in part:
                digits = digits.rstrip("0")
            return part[0] + digits if digits else ""
        if part in ("-07:00", "Z07:00", "-0700", "Z0700"):
            return _offset(moment, part)
        text = moment.strftime(_PARTS[part])
        if part == "_2":
            return f"{moment.day:2}"
        return text.lstrip("0") or "0" if part in _BARE else text

    return _TOKEN.sub(shown, layout)


def _offset(moment: dt.datetime, part: str) -> str:
    seconds = int((moment.utcoffset() or dt.timedelta()).total_seconds())
    if part.startswith("Z") and not seconds:
        return "Z"
    hours, minutes = divmod(abs(seconds) // 60, 60)
    colon = ":" if ":" in part else ""
    return f"{'-' if seconds < 0 else '+'}{hours:02}{colon}{minutes:02}"


def parse_moment(text: str, layout: str, where: dt.tzinfo = dt.UTC) -> dt.datetime:
    """The moment that a text in the layout means."""
    pieces: list[str] = []
    position = 0
    for found in _TOKEN.finditer(layout):
        pieces.append(layout[position : found.start()].replace("%", "%%"))
        pieces.append(found.group()[0] + "%f" if found["fraction"] else _PARTS[found.group()])
        position = found.end()
    pieces.append(layout[position:].replace("%", "%%"))
    shape = "".join(pieces)
    try:
        moment = dt.datetime.strptime(_trimmed(text, layout), shape)
    except ValueError:
        message = f'parsing time "{text}" as "{layout}": cannot parse "{text}" as "{layout}"'
        raise ExpressionError(message) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=where)


def _trimmed(text: str, layout: str) -> str:
    """Without the fraction of a second that Go takes where the layout has none."""
    if "." in layout.partition("05")[2]:
        return re.sub(r"(\.\d{6})\d+", r"\1", text)
    return re.sub(r"(:\d\d)\.\d+", r"\1", text)
