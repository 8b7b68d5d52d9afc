"""What the store keeps and tells: records, events, and the bounded memory of recent events."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import msgspec

from kubeling.kube.objects import Obj

__all__ = ["Event", "History", "Record", "StoreKey", "WatchExpired"]

_decode: Final = msgspec.json.Decoder().decode


class StoreKey(NamedTuple):
    """Where an object lives; ``resource`` is ``group/plural`` whatever the version."""

    resource: str
    namespace: str
    name: str


class Record:
    """One committed state of one object. ``obj`` is shared by everyone: never change it.

    What was loaded from disk is decoded when first looked at, so that opening a large store is
    fast.
    """

    __slots__ = ("_encoded", "_obj", "key", "version")

    def __init__(
        self, key: StoreKey, version: int, obj: Obj | None = None, encoded: bytes = b""
    ) -> None:
        self.key = key
        self.version = version
        self._obj = obj
        self._encoded = encoded

    @property
    def obj(self) -> Obj:
        if self._obj is None:
            self._obj = _decode(self._encoded)
            self._encoded = b""
        return self._obj

    def __repr__(self) -> str:
        return f"Record({'/'.join(self.key)}@{self.version})"


@dataclass(slots=True, eq=False)
class Event:
    """One committed change; ``record`` is the state after it (of a deletion: the last one)."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    record: Record
    previous: Record | None
    version: int
    encoded: dict[str, bytes] = field(default_factory=dict)
    """The event as sent on the wire, by representation, filled in by whoever sends it first."""


class WatchExpired(Exception):
    """The events after the version asked for are no longer known."""


class History:
    """The recent events of one resource, in order.

    ``floor`` is the version from which nothing is missing. Events go when there are too many of
    them, or when :meth:`expire` finds them too old.
    """

    def __init__(self, floor: int, limit: int) -> None:
        self.floor = floor
        self._limit = limit
        self._events: deque[tuple[float, Event]] = deque()

    def append(self, event: Event) -> None:
        self._events.append((time.monotonic(), event))
        if len(self._events) > self._limit:
            self._drop()

    def expire(self, before: float) -> None:
        """Forgets events from before a monotonic time."""
        while self._events and self._events[0][0] < before:
            self._drop()

    def after(self, version: int) -> list[Event]:
        """The events after ``version``; raises :class:`WatchExpired` if some are gone."""
        if version < self.floor:
            raise WatchExpired
        found = list(self._backwards(version))
        found.reverse()
        return found

    def undo(self, version: int) -> dict[StoreKey, Record | None]:
        """What objects changed since were at ``version`` (``None``: absent)."""
        if version < self.floor:
            raise WatchExpired
        return {event.record.key: event.previous for event in self._backwards(version)}

    def _backwards(self, version: int) -> Iterator[Event]:
        for _, event in reversed(self._events):
            if event.version <= version:
                return
            yield event

    def _drop(self) -> None:
        _, event = self._events.popleft()
        self.floor = event.version
