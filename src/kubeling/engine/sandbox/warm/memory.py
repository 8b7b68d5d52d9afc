"""Copying what a fork shares with its template, while it waits to be told what it is.

A process copies each page of memory that it is the first to change, after a fault for it. That is a
third of what a short command costs, from its first to its last moment, and by then somebody waits
for it. So the fork has as many pages copied as it has time for. Where the kernel cannot do that
(before 5.14), they are copied as ever.
"""

from __future__ import annotations

import itertools
import os

from kubeling.engine.sandbox import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WORD = 8
_PRESENT = 0x80
_PIECE = 32
"""How many pages are copied in one go: a tenth of a millisecond."""
_LARGEST = 1 << 30
"""How much of an area is looked at: some are reserved by the terabyte."""
_MOST = 4096
"""How many pages at most: a program that has large libraries may need little of them."""


class SharedMemory:
    """The memory of this process that its forks would copy, as it is now."""

    def __init__(self) -> None:
        self._page = os.sysconf("SC_PAGE_SIZE")
        try:
            self._pieces = list(itertools.islice(self._found(), _MOST // _PIECE))
        except OSError:  # a kernel that does not say which pages there are
            self._pieces = []

    def copy_while(self, waiting: Callable[[], bool]) -> None:
        """In a fork: makes it its own, until there is something else to do."""
        for start, size in self._pieces:
            if not waiting() or not linux.populate(start, size):
                return

    def _found(self) -> Iterator[tuple[int, int]]:
        with open("/proc/self/maps") as file:
            fields = [line.split(None, 2) for line in file]
        with open("/proc/self/pagemap", "rb", 0) as pages:
            for area, rights, *_ in fields:
                if rights == "rw-p":
                    start, end = (int(text, 16) for text in area.split("-"))
                    yield from self._written(pages.fileno(), start, end)

    def _written(self, pages: int, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The pieces of an area that are there, and not only reserved."""
        count = min(end - start, _LARGEST) // self._page
        known = os.pread(pages, count * _WORD, start // self._page * _WORD)[_WORD - 1 :: _WORD]
        first = 0
        for number in range(len(known) + 1):
            there = number < len(known) and known[number] & _PRESENT
            if not there or number - first == _PIECE:
                if number > first:
                    yield start + first * self._page, (number - first) * self._page
                first = number if there else number + 1
