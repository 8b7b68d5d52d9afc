"""Finders that modules put behind all others when they are imported, to be put there later.

``six`` and transformers find names of their own that way, ``importlib_metadata`` packages. A finder
that comes last finds only what no other does, so it changes nothing for what is set aside.
One that was put elsewhere is seen as a change of the interpreter.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Finders:
    """By module, the finders that it has added."""

    def __init__(self) -> None:
        self.handed_out: list[Any] = []
        """Those that are there again, in their order."""
        self._added: dict[str, list[Any]] = {}
        self._last: list[Any] = []

    def begin(self) -> None:
        self._last = list(sys.meta_path)

    def note(self, module: str) -> None:
        """Whatever is new since the last note is a module's doing."""
        if sys.meta_path != self._last:
            before, self._last = self._last, list(sys.meta_path)
            if self._last[: len(before)] == before:
                self._added.setdefault(module, []).extend(self._last[len(before) :])

    def end(self) -> None:
        """Those that were put behind all others are gone."""
        added = [finder for several in self._added.values() for finder in several]
        sys.meta_path[:] = [one for one in sys.meta_path if not any(one is a for a in added)]

    def hand_out(self, module: str) -> None:
        """Does what importing a module would do."""
        for finder in self._added.pop(module, ()):
            sys.meta_path.append(finder)
            self.handed_out.append(finder)
