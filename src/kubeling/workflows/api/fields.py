"""``fields=``: which parts of an answer to keep, or with a ``-`` in front, to leave out.

Upstream: ``util/fields/cleaner.go``. Names are paths with dots; entries of lists have the list's
path, and watches name the object as ``result.object.…``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Fields"]

_EVENT: Final = "result.object."


@dataclass(frozen=True, slots=True)
class Fields:
    """A selection; an empty one keeps everything."""

    paths: frozenset[str] = frozenset()
    exclude: bool = False

    @classmethod
    def parse(cls, text: str) -> Fields:
        exclude = text.startswith("-")
        paths = (path.removeprefix(_EVENT) for path in text.removeprefix("-").split(","))
        return cls(frozenset(filter(None, paths)), exclude)

    def keeps(self, path: str) -> bool:
        """Whether something at or below the path is kept."""
        if not self.paths:
            return True
        touched = any(path.startswith(p) or p.startswith(path) for p in self.paths)
        return touched is not self.exclude

    def select(self, value: Any) -> Any:
        """The value with only what is kept; shares its parts with the original."""
        return self._select(value, "") if self.paths else value

    def _select(self, value: Any, path: str) -> Any:
        if isinstance(value, list):
            return [self._select(entry, path) for entry in value]
        if not isinstance(value, dict):
            return value
        kept = {}
        for key, entry in value.items():
            below = f"{path}.{key}" if path else key
            named = below in self.paths
            if self.exclude:
                if not named:
                    kept[key] = self._select(entry, below)
            elif named:
                kept[key] = entry
            elif any(p.startswith(below) for p in self.paths):
                kept[key] = self._select(entry, below)
        return kept
