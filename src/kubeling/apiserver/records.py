"""What the store keeps and tells: records, events, and the bounded memory of recent events.

An object is kept as the JSON it is stored as, a third of what it takes as Python objects and ready
to be sent. It is decoded when first looked at, and stays so for a while, because what was just
written or read is read again (:class:`Decoded`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any, Final, Literal, NamedTuple

import msgspec

from kubeling.kube.objects import Obj

__all__ = ["Decoded", "Event", "History", "Record", "StoreKey", "WatchExpired"]

DECODED_BYTES: Final = 8 * 1024 * 1024
_NO_LABELS: Final[Mapping[str, Any]] = {}


class _Metadata(msgspec.Struct):
    labels: dict[str, Any] | None = None


class _Labelled(msgspec.Struct):
    """What objects are selected by most, which costs half as much to decode."""

    metadata: _Metadata


class _Versioned(msgspec.Struct):
    api_version: str = msgspec.field(default="", name="apiVersion")


_decode: Final = msgspec.json.Decoder().decode
_decode_version: Final = msgspec.json.Decoder(_Versioned).decode
_decode_labels: Final = msgspec.json.Decoder(_Labelled).decode


class StoreKey(NamedTuple):
    """Where an object lives; ``resource`` is ``group/plural`` whatever the version."""

    resource: str
    namespace: str
    name: str


class Record:
    """One committed state of one object, as JSON and, while it is warm, decoded."""

    __slots__ = ("_api_version", "_decoded", "_obj", "encoded", "key", "version")

    def __init__(
        self,
        key: StoreKey,
        version: int,
        encoded: bytes,
        decoded: Decoded,
        obj: Obj | None = None,
    ) -> None:
        self.key = key
        self.version = version
        self.encoded = encoded
        self._api_version: str | None = None
        self._decoded = decoded
        self._obj = obj
        if obj is not None:
            decoded.remember(self)

    @property
    def obj(self) -> Obj:
        """The object, shared by everyone: never change it."""
        obj = self._obj
        if obj is None:
            obj = self._obj = _decode(self.encoded)
            self._decoded.remember(self)
        return obj

    def glance(self) -> Obj:
        """The object for one look, as when all of a kind are looked through."""
        return _decode(self.encoded) if self._obj is None else self._obj

    @property
    def api_version(self) -> str:
        """The version in which the object is kept."""
        if self._api_version is None:
            self._api_version = intern(_decode_version(self.encoded).api_version)
        return self._api_version

    @property
    def labels(self) -> Mapping[str, Any]:
        """The labels (do not change them)."""
        if self._obj is not None:
            metadata = self._obj.get("metadata") or {}
            return metadata.get("labels") or _NO_LABELS
        return _decode_labels(self.encoded).metadata.labels or _NO_LABELS

    def cool(self) -> None:
        """Lets go of the decoded form."""
        self._obj = None

    def __repr__(self) -> str:
        return f"Record({'/'.join(self.key)}@{self.version})"


class Decoded:
    """Which records are decoded: the latest, up to so many bytes of JSON and for a limited time."""

    def __init__(self, limit: int = DECODED_BYTES) -> None:
        self._limit = limit
        self._size = 0
        self._records: deque[tuple[float, Record]] = deque()

    def remember(self, record: Record) -> None:
        """Notes a record that was decoded; lets go of the oldest if there are too many."""
        self._records.append((time.monotonic(), record))
        self._size += len(record.encoded)
        while self._size > self._limit:
            self._cool_oldest()

    def expire(self, before: float) -> None:
        """Lets go of what was decoded before a monotonic time."""
        while self._records and self._records[0][0] < before:
            self._cool_oldest()

    def _cool_oldest(self) -> None:
        _, record = self._records.popleft()
        self._size -= len(record.encoded)
        record.cool()


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
