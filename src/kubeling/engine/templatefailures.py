"""Why interpreters cannot be kept, and when that is tried again.

What time, memory or the system stood in the way of is tried again after a while that doubles. That
a library cannot be imported ahead is so until the interpreter or its packages change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from kubeling.engine.launcher import LaunchError
from kubeling.engine.templatechecks import look
from kubeling.engine.templatekeys import TemplateKey

__all__ = ["Failures", "Unfit"]

_FIRST_SECONDS: Final = 4.0
_LONGEST_SECONDS: Final = 300.0
_MOST: Final = 100
"""How many are remembered; what was forgotten is found out again."""


class Unfit(LaunchError):
    """What was imported ahead does not bear it, as long as some folders are as they were."""

    def __init__(self, reason: str, seen: Mapping[str, int]) -> None:
        super().__init__(reason)
        self.seen = seen


@dataclass(frozen=True, slots=True)
class _Failure:
    error: LaunchError
    times: int
    again_at: float


@dataclass(slots=True)
class Failures:
    """Of the templates of one platform."""

    now: Callable[[], float]
    _last: dict[TemplateKey, _Failure] = field(default_factory=dict)

    def note(self, key: TemplateKey, error: LaunchError) -> None:
        """One could not be started."""
        before = self._last.pop(key, None)
        times = 0 if before is None else before.times + 1
        pause = min(_FIRST_SECONDS * 2.0 ** min(times, 16), _LONGEST_SECONDS)
        self._last[key] = _Failure(error, times, self.now() + pause)
        while len(self._last) > _MOST:
            del self._last[next(iter(self._last))]

    def forget(self, key: TemplateKey) -> None:
        """One has started."""
        self._last.pop(key, None)

    def reason(self, key: TemplateKey) -> str:
        """Why there is none; empty if it was not tried in vain."""
        failure = self._last.get(key)
        return "" if failure is None else str(failure.error)

    def may_try(self, key: TemplateKey) -> bool:
        """Whether starting one may end otherwise than the last time."""
        match self._last.get(key):
            case None:
                return True
            case _Failure(error=Unfit(seen=seen)):
                return look(seen) != seen
            case failure:
                return failure.again_at <= self.now()

    def pause(self, keys: Iterable[TemplateKey]) -> float | None:
        """Seconds until one of those that failed for a while may be tried again, if there are."""
        waiting = [
            failure.again_at - self.now()
            for key in keys
            if (failure := self._last.get(key)) is not None and not isinstance(failure.error, Unfit)
        ]
        return max(min(waiting), 0.0) if waiting else None
