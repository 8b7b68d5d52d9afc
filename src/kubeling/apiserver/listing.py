"""Lists and watches: selectors, pages that stay consistent, and streams of changes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from kubeling.apiserver.options import ListOptions
from kubeling.apiserver.ordered import BEGINNING, Position
from kubeling.apiserver.records import Event, Record, WatchExpired
from kubeling.apiserver.selection import Selection
from kubeling.apiserver.selectors import name_term
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Store
from kubeling.apiserver.watcher import Watcher
from kubeling.kube.errors import BadRequest, Expired, FieldError, Invalid, ServerTimeout
from kubeling.kube.objects import Obj
from kubeling.kube.transport import EventType

__all__ = ["Change", "Changes", "Listing", "list_objects", "watch_objects"]

BOOKMARK_SECONDS: Final = 60.0
_MIN_TIMEOUT: Final = 1800.0
_TOGETHER: Final = 100
"""The most changes that are given together at the beginning of a watch."""
_encode: Final = msgspec.json.Encoder().encode


class Change(NamedTuple):
    """One event as a client sees it, with its object as stored (``record``) or as ``made``."""

    type: EventType
    made: Obj | None = None
    record: Record | None = None
    event: Event | None = None
    """What it came from, if from the store."""

    @property
    def object(self) -> Obj:
        if self.made is not None:
            return self.made
        assert self.record is not None
        return self.record.obj


Changes = AsyncGenerator[Sequence[Change], None]
"""Changes in order; those that came at once are given together."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A ``List`` of stored objects, made in the form it is wanted in."""

    served: Served
    metadata: Obj
    records: Sequence[Record]

    @property
    def obj(self) -> Obj:
        """Its items are shared: do not change them."""
        return self._with([self.served.present(record.glance()) for record in self.records])

    @property
    def encoded(self) -> bytes:
        """The same as JSON, which is how objects are kept."""
        return _encode(self._with([self._raw(record) for record in self.records]))

    def _with(self, items: Sequence[Any]) -> Obj:
        return {
            "kind": f"{self.served.resource.kind}List",
            "apiVersion": self.served.resource.api_version,
            "metadata": self.metadata,
            "items": items,
        }

    def _raw(self, record: Record) -> Any:
        if self.served.shows_as_stored(record):
            return msgspec.Raw(record.encoded)
        return self.served.present(record.glance())


class _Continue(msgspec.Struct):
    """What a continue token says; opaque to clients."""

    version: int
    namespace: str
    name: str


def list_objects(store: Store, served: Served, namespace: str, options: ListOptions) -> Listing:
    """What the selectors match, or a page of it."""
    version, start = _position(store, options)
    selection = Selection.of(served, options)
    records = _records(store, served, namespace, version, selection, start)
    metadata: Obj = {"resourceVersion": str(version)}
    found = list(islice(records, options.limit or None))
    if found and options.limit and next(records, None) is not None:
        last = (found[-1].key.namespace, found[-1].key.name)
        metadata["continue"] = _token(version, *last)
        if not selection:
            metadata["remainingItemCount"] = store.count_at(
                version, served.storage, namespace, last
            )
    return Listing(served, metadata, found)


def watch_objects(
    store: Store, served: Served, namespace: str, name: str, options: ListOptions
) -> Changes:
    """Changes from the version asked for, until the time is up or the client too slow.

    What is wrong with the request is raised here; that a version is too old, by the stream.
    """
    selection = Selection.of(served, options)
    since = _version(options.resource_version) if options.resource_version else 0
    if name:
        selection = replace(selection, fields=(*selection.fields, name_term(name)))
    return _changes(store, served, namespace, options, selection, since)


async def _changes(
    store: Store,
    served: Served,
    namespace: str,
    options: ListOptions,
    selection: Selection,
    since: int,
) -> Changes:
    initial, from_now = options.initial_events, options.initial_events or since == 0
    if since > store.version and not from_now:
        raise _expired(store, since)
    if since > store.version:
        raise _too_large(store, since)
    since = store.version if from_now else since
    try:
        watcher = store.watch(served.storage, since, namespace, selection.where.name)
    except WatchExpired:
        raise _expired(store, since) from None
    try:
        if from_now and initial is not False:
            for changes in _initial(store, served, namespace, selection, since):
                yield changes
        # A watch from nowhere in particular asks for the state first, whether or not it says so.
        if from_now and initial is not False and options.bookmarks:
            yield [_bookmark(served, since, {"k8s.io/initial-events-end": "true"})]
        following = _following(store, served, watcher, options, selection)
        async with contextlib.aclosing(following):
            async for changes in following:
                yield changes
    finally:
        watcher.close()


async def _following(
    store: Store, served: Served, watcher: Watcher, options: ListOptions, selection: Selection
) -> Changes:
    loop = asyncio.get_running_loop()
    seconds = options.timeout_seconds or _MIN_TIMEOUT * random.uniform(1.0, 2.0)
    deadline = loop.time() + seconds
    # One timer for the whole stream, because there are many events and watchers.
    timer = loop.call_later(min(BOOKMARK_SECONDS, seconds), watcher.rouse)
    try:
        while not watcher.closed:
            if events := await watcher.take():
                seen = [_seen(served, event, selection) for event in events]
                if changes := [change for change in seen if change is not None]:
                    yield changes
            elif watcher.roused:
                watcher.roused = False
                # A bookmark says that all before it was told, as it was if nothing waits.
                if options.bookmarks and not watcher.closed:
                    yield [_bookmark(served, store.version)]
                if (left := deadline - loop.time()) <= 0:
                    return
                timer = loop.call_later(min(BOOKMARK_SECONDS, left), watcher.rouse)
    finally:
        timer.cancel()


def _initial(
    store: Store, served: Served, namespace: str, selection: Selection, version: int
) -> Iterator[Sequence[Change]]:
    """What there is, as if it were added now; in parts, which may be many."""
    records = list(_records(store, served, namespace, version, selection))
    for first in range(0, len(records), _TOGETHER):
        yield [_change("ADDED", served, record) for record in records[first : first + _TOGETHER]]


def _seen(served: Served, event: Event, selection: Selection) -> Change | None:
    """The event as a watch with selectors sees it: entering adds, leaving deletes."""
    if not selection:
        return _change(event.type, served, event.record, event)
    before = event.previous is not None and selection.matches(event.previous)
    after = event.type != "DELETED" and selection.matches(event.record)
    if before and after:
        return _change("MODIFIED", served, event.record, event)
    if after:
        return _change("ADDED", served, event.record, event)
    if before and event.previous is not None:
        last = event.previous.obj
        version = str(event.version)
        last = {**last, "metadata": {**last["metadata"], "resourceVersion": version}}
        return Change("DELETED", served.present(last))
    return None


def _change(type_: EventType, served: Served, record: Record, event: Event | None = None) -> Change:
    if served.shows_as_stored(record):
        return Change(type_, None, record, event)
    return Change(type_, served.present(record.obj), None, event)


def _bookmark(served: Served, version: int, annotations: Obj | None = None) -> Change:
    metadata: Obj = {"resourceVersion": str(version), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    obj = {
        "kind": served.resource.kind,
        "apiVersion": served.resource.api_version,
        "metadata": metadata,
    }
    return Change("BOOKMARK", obj)


def _position(store: Store, options: ListOptions) -> tuple[int, Position]:
    if options.continue_token:
        if options.resource_version not in ("", "0"):
            raise BadRequest("specifying resource version is not allowed when using continue")
        try:
            raw = base64.urlsafe_b64decode(options.continue_token + "==")
            token = msgspec.json.decode(raw, type=_Continue)
        except (ValueError, msgspec.MsgspecError):
            raise BadRequest("continue key is not valid: start the list again") from None
        return token.version, (token.namespace, token.name)
    if options.resource_version in ("", "0"):
        return store.version, BEGINNING
    wanted = _version(options.resource_version)
    if wanted > store.version:
        raise _too_large(store, wanted)
    return wanted if options.version_match == "Exact" else store.version, BEGINNING


def _records(
    store: Store,
    served: Served,
    namespace: str,
    version: int,
    selection: Selection,
    start: Position = BEGINNING,
) -> Iterator[Record]:
    """What there was at a version behind a position, until the next write."""
    try:
        found = store.behind_at(version, served.storage, namespace, start, selection.where)
    except WatchExpired:
        raise _forgotten(store, start) from None
    return filter(selection.matches, found) if selection else found


def _token(version: int, namespace: str, name: str) -> str:
    token = msgspec.json.encode(_Continue(version, namespace, name))
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def _version(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text):
        error = FieldError("resourceVersion", "Invalid value", "must be a number", text)
        raise Invalid.of("meta.k8s.io", "ListOptions", "", [error])
    return int(text)


def _forgotten(store: Store, start: Position) -> Expired:
    """Why a list cannot be had as of its version; if it was begun, with the way on from there."""
    if start == BEGINNING:
        return Expired("The resourceVersion for the provided list is too old.")
    error = Expired(
        "The provided continue parameter is too old to display a consistent list result. You can "
        "start a new list without the continue parameter, or use the continue token in this "
        "response to retrieve the remainder of the results. Continuing with the provided token "
        "results in an inconsistent list - objects that were created, modified, or deleted between "
        "the time the first chunk was returned and now may show up in the list."
    )
    error.metadata["continue"] = _token(store.version, *start)
    return error


def _too_large(store: Store, version: int) -> ServerTimeout:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return ServerTimeout(
        f"Too large resource version: {version}, current: {store.version}",
        details={"causes": [cause], "retryAfterSeconds": 1},
    )


def _expired(store: Store, version: int) -> Expired:
    return Expired(f"too old resource version: {version} ({store.version})")
