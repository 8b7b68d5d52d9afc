"""What modules do to the filters of warnings when they are imported, to be done again later.

Libraries of numbers add some. A list of filters that a program has put in place for a while, as
:class:`warnings.catch_warnings` does, is not the interpreter's: what is done to it is lost.
"""

from __future__ import annotations

import _warnings
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Filter = tuple[Any, ...]

_own: Any = _warnings


class Filters:
    """By module, what was put before all filters and behind them."""

    def __init__(self) -> None:
        self._added: dict[str, list[tuple[list[Filter], list[Filter]]]] = {}
        self._first: list[Filter] = []
        self._last: list[Filter] = []

    def begin(self) -> None:
        self._first = list(_own.filters)
        self._last = list(_own.filters)

    def note(self, module: str) -> None:
        """Whatever has changed since the last note is a module's doing."""
        if _own.filters != self._last:
            now = list(_own.filters)
            self._added.setdefault(module, []).append(_difference(self._last, now))
            self._last = now

    def end(self) -> None:
        """The filters are as they were again."""
        if _own.filters != self._first:
            _own.filters[:] = self._first
            _own._filters_mutated()

    def hand_out(self, module: str) -> None:
        """Does what importing a module would do."""
        for front, back in self._added.pop(module, ()):
            warnings = sys.modules.get("warnings", _own)
            _add(warnings.filters, front, back)
            _own._filters_mutated()


def _difference(before: list[Filter], now: list[Filter]) -> tuple[list[Filter], list[Filter]]:
    """What was added in front and behind; one that was there already moves."""
    for size in range(len(now) + 1):
        front = now[:size]
        kept = [one for one in before if one not in front]
        if now[size : size + len(kept)] == kept:
            return front, now[size + len(kept) :]
    return now, []


def _add(filters: list[Filter], front: list[Filter], back: list[Filter]) -> None:
    """In place, as :func:`warnings.simplefilter` does it one by one."""
    for one in reversed(front):
        if one in filters:
            filters.remove(one)
        filters.insert(0, one)
    filters.extend(one for one in back if one not in filters)
