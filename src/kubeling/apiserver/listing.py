"""Lists and watches: selectors, pages that stay consistent, and streams of changes."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from kubeling.apiserver.options import ListOptions
from kubeling.apiserver.records import Event, Record, WatchExpired
from kubeling.apiserver.selectors import field_selector, selected_name
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Store
from kubeling.apiserver.watcher import Watcher
from kubeling.kube import selectors
from kubeling.kube.errors import BadRequest, Expired, FieldError, Invalid, ServerTimeout
from kubeling.kube.objects import Obj, labels
from kubeling.kube.transport import EventType

__all__ = ["Change", "list_objects", "watch_objects"]

BOOKMARK_SECONDS: Final = 60.0
_MIN_TIMEOUT: Final = 1800.0

Predicate = Callable[[Obj], bool]


class Change(NamedTuple):
    """One event as a client sees it; ``event`` is what it came from, if from the store."""

    type: EventType
    object: Obj
    event: Event | None = None


class _Continue(msgspec.Struct):
    """What a continue token says; opaque to clients."""

    version: int
    namespace: str
    name: str


def list_objects(store: Store, served: Served, namespace: str, options: ListOptions) -> Obj:
    """A ``List`` of what the selectors match. Its items are shared: do not change them."""
    version, start = _position(store, options)
    matches = _predicate(served, options)
    found: Sequence[Record]
    if options.limit and matches is None and version == store.version:
        found, rest = store.page(served.storage, namespace, start, options.limit)
    else:
        records = _records(store, served, namespace, version, selected_name(options.fields))
        if start is not None:
            records = [r for r in records if (r.key.namespace, r.key.name) > start]
        found = records if matches is None else [r for r in records if matches(r.obj)]
        rest = max(len(found) - options.limit, 0) if options.limit else 0
        found = found[: options.limit] if rest else found
    metadata: Obj = {"resourceVersion": str(version)}
    if rest:
        last = found[-1].key
        metadata["continue"] = _token(version, last.namespace, last.name)
        if matches is None:
            metadata["remainingItemCount"] = rest
    return {
        "kind": f"{served.resource.kind}List",
        "apiVersion": served.resource.api_version,
        "metadata": metadata,
        "items": [served.present(record.obj) for record in found],
    }


def watch_objects(
    store: Store, served: Served, namespace: str, name: str, options: ListOptions
) -> AsyncGenerator[Change, None]:
    """Changes from the version asked for, until the time is up or the client too slow.

    What is wrong with the request is raised here; that a version is too old, by the stream.
    """
    matches = _predicate(served, options)
    if options.version_match and not options.initial_events:
        error = FieldError(
            "resourceVersionMatch",
            "Forbidden",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        )
        raise Invalid.of("meta.k8s.io", "ListOptions", "", [error])
    since = _version(options.resource_version) if options.resource_version else 0
    name = name or selected_name(options.fields)
    return _changes(store, served, namespace, name, options, matches, since)


async def _changes(
    store: Store,
    served: Served,
    namespace: str,
    name: str,
    options: ListOptions,
    matches: Predicate | None,
    since: int,
) -> AsyncGenerator[Change, None]:
    from_now = options.initial_events or since == 0
    if since > store.version and not from_now:
        raise _expired(store, since)
    since = store.version if from_now else since
    try:
        watcher = store.watch(served.storage, since, namespace, name)
    except WatchExpired:
        raise _expired(store, since) from None
    try:
        if from_now:
            for record in _records(store, served, namespace, since, name):
                if matches is None or matches(record.obj):
                    yield Change("ADDED", served.present(record.obj))
        if options.initial_events:
            yield _bookmark(served, since, {"k8s.io/initial-events-end": "true"})
        async for change in _follow(store, served, watcher, matches, options):
            yield change
    finally:
        watcher.close()


async def _follow(
    store: Store,
    served: Served,
    watcher: Watcher,
    matches: Predicate | None,
    options: ListOptions,
) -> AsyncGenerator[Change, None]:
    loop = asyncio.get_running_loop()
    seconds = options.timeout_seconds or _MIN_TIMEOUT * random.uniform(1.0, 2.0)
    deadline = loop.time() + seconds
    while not watcher.closed:
        wait = min(BOOKMARK_SECONDS, deadline - loop.time())
        event = await watcher.next(max(wait, 0.0))
        if event is not None:
            change = _seen(served, event, matches)
            if change is not None:
                yield change
        elif not watcher.closed:
            if options.bookmarks:
                yield _bookmark(served, store.version)
            if loop.time() >= deadline:
                return


def _seen(served: Served, event: Event, matches: Predicate | None) -> Change | None:
    """The event as a watch with selectors sees it: entering adds, leaving deletes."""
    obj = event.record.obj
    if matches is None:
        return Change(event.type, served.present(obj), event)
    before = event.previous is not None and matches(event.previous.obj)
    after = event.type != "DELETED" and matches(obj)
    if before and after:
        return Change("MODIFIED", served.present(obj), event)
    if after:
        return Change("ADDED", served.present(obj), event)
    if before and event.previous is not None:
        last = event.previous.obj
        version = str(event.version)
        last = {**last, "metadata": {**last["metadata"], "resourceVersion": version}}
        return Change("DELETED", served.present(last))
    return None


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


def _position(store: Store, options: ListOptions) -> tuple[int, tuple[str, str] | None]:
    if options.continue_token:
        try:
            raw = base64.urlsafe_b64decode(options.continue_token + "==")
            token = msgspec.json.decode(raw, type=_Continue)
        except (ValueError, msgspec.MsgspecError):
            raise BadRequest("continue key is not valid: start the list again") from None
        return token.version, (token.namespace, token.name)
    if options.version_match == "Exact" and options.resource_version not in ("", "0"):
        return _version(options.resource_version), None
    if options.resource_version not in ("", "0"):
        wanted = _version(options.resource_version)
        if wanted > store.version:
            cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            raise ServerTimeout(
                f"Too large resource version: {wanted}, current: {store.version}",
                details={"causes": [cause], "retryAfterSeconds": 1},
            )
    return store.version, None


def _records(
    store: Store, served: Served, namespace: str, version: int, name: str
) -> Sequence[Record]:
    """What there was at a version; of a ``name`` if one is given."""
    if version == store.version:
        if name:
            return store.named(served.storage, namespace, name)
        return store.list(served.storage, namespace)
    try:
        found = store.list_at(served.storage, namespace, version)
        return [record for record in found if name in ("", record.key.name)]
    except WatchExpired:
        fresh = _token(store.version, "", "")
        raise Expired(
            "The provided continue parameter is too old to display a consistent list result. You "
            "can start a new list without the continue parameter",
            details={"continue": fresh},
        ) from None


def _predicate(served: Served, options: ListOptions) -> Predicate | None:
    by_label = selectors.parse(options.labels) if options.labels else None
    by_field = field_selector(options.fields, served) if options.fields else None
    if by_label is None:
        return by_field
    if by_field is None:
        return lambda obj: by_label.matches(labels(obj))
    return lambda obj: by_label.matches(labels(obj)) and by_field(obj)


def _token(version: int, namespace: str, name: str) -> str:
    token = msgspec.json.encode(_Continue(version, namespace, name))
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def _version(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        error = FieldError("resourceVersion", "Invalid value", "must be a number", text)
        raise Invalid.of("meta.k8s.io", "ListOptions", "", [error]) from None


def _expired(store: Store, version: int) -> Expired:
    return Expired(f"too old resource version: {version} ({store.version})")
