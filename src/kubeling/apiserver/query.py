"""Query parameters, which may be repeated."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Query"]


class Query(dict[str, str]):
    """Query parameters; the first value of each, and all of them where repetition matters."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__()
        self._more: dict[str, list[str]] = {}
        for key, value in pairs:
            if key not in self:
                self[key] = value
            else:
                self._more.setdefault(key, []).append(value)

    def all(self, key: str) -> list[str]:
        """Every value of a parameter, in order."""
        return [self[key], *self._more.get(key, ())] if key in self else []
