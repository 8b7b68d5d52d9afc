"""Times as Argo's command line shows them."""

from __future__ import annotations

import datetime as dt
from typing import Final

from kubeling.kube.objects import parse_time

__all__ = ["long_duration", "moment", "short", "short_duration"]

_UNITS: Final = ((86400, "d", "day"), (3600, "h", "hour"), (60, "m", "minute"), (1, "s", "second"))


def short_duration(started: str | None, finished: str | None, now: dt.datetime) -> str:
    """``42s``, ``3m``, ``2h``: in one unit."""
    return short(_seconds(started, finished, now)) if started else "0s"


def long_duration(started: str | None, finished: str | None, now: dt.datetime) -> str:
    """``1 minute 12 seconds``: in two units."""
    seconds = _seconds(started, finished, now)
    for size, _, name in _UNITS:
        if seconds >= size:
            text = _counted(seconds // size, name)
            below = [(s, n) for s, _, n in _UNITS if s < size]
            if below:
                smaller, called = below[0]
                text += f" {_counted(seconds % size // smaller, called)}"
            return text
    return "0 seconds"


def moment(text: str, now: dt.datetime) -> str:
    """``Fri Nov 27 13:39:29 +0000 (5 minutes ago)``"""
    at = parse_time(text)
    seconds = max(0, int((now - at).total_seconds()))
    size, _, name = next((unit for unit in _UNITS if seconds >= unit[0]), _UNITS[-1])
    ago = "now" if seconds == 0 else f"{_counted(seconds // size, name)} ago"
    return f"{at:%a %b %d %H:%M:%S +0000} ({ago})"


def short(seconds: int) -> str:
    """A number of seconds in its largest unit."""
    size, letter, _ = next((unit for unit in _UNITS if seconds >= unit[0]), _UNITS[-1])
    return f"{seconds // size}{letter}"


def _seconds(started: str | None, finished: str | None, now: dt.datetime) -> int:
    if not started:
        return 0
    end = parse_time(finished) if finished else now
    return max(0, int((end - parse_time(started)).total_seconds()))


def _counted(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
