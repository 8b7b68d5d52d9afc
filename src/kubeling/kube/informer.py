"""Local, indexed caches of a resource, fed by list and watch.

A reflector lists once, watches from there, and starts over when the server says the version is
gone; a lost connection resumes from the last version seen, and only where that fails lists again,
telling handlers about what changed in between. So a handler sees every object's latest state, and
every disappearance, at least once — what
level-triggered controllers need — and no more is promised.
"""

from __future__ import annotations

import asyncio
import builtins
import logging
import random
from collections.abc import Callable, Collection, Iterable
from typing import Any

from kubeling.kube.client import Client
from kubeling.kube.errors import ApiError, Forbidden, Gone, NotFound
from kubeling.kube.objects import Key, Obj, controller_of, key_of, resource_version
from kubeling.kube.resources import Resource

__all__ = ["Handler", "Indexer", "Informer", "Informers"]

log = logging.getLogger(__name__)

Handler = Callable[[Obj | None, Obj | None], None]
"""Called with ``(old, new)``; ``old`` is ``None`` on arrival, ``new`` on disappearance."""

Indexer = Callable[[Obj], Iterable[str]]

_MAX_BACKOFF = 30.0
_PAGE = 500
_IDENTITY = (
    "name", "namespace", "uid", "resourceVersion", "ownerReferences", "finalizers",
    "deletionTimestamp",
)  # fmt: skip


class Informer:
    """The cache of one resource. Objects in it are shared: read them, do not change them."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str = "",
        labels: str = "",
        keep: Callable[[Obj], Obj] | None = None,
    ) -> None:
        """``keep`` says what of each object is cached, where that is not all of it."""
        self._keep = keep
        self.resource = resource
        self._client = client
        self._namespace = namespace
        self._labels = labels
        self._items: dict[Key, Obj] = {}
        self._handlers: list[Handler] = []
        self._indexers: dict[str, Indexer] = {}
        self._indices: dict[str, dict[str, dict[Key, Obj]]] = {}
        self._version = ""
        self._synced = asyncio.Event()
        self._refused = False
        self.add_index("namespace", lambda obj: (key_of(obj).namespace,))
        self.add_index("controller", _controller_uid)

    @property
    def synced(self) -> bool:
        """Whether the first list has been delivered."""
        return self._synced.is_set()

    @property
    def available(self) -> bool:
        """Whether the server lists the resource: false before the first list, and from when its
        kind is taken away (404) or forbidden (403) until it is there again."""
        return self.synced and not self._refused

    @property
    def resource_version(self) -> str:
        """The version the cache has seen."""
        return self._version

    async def wait_synced(self) -> None:
        await self._synced.wait()

    def get(self, namespace: str, name: str) -> Obj | None:
        """The cached object, or ``None``."""
        return self._items.get(Key(namespace, name))

    def list(self, namespace: str = "") -> builtins.list[Obj]:
        """The cached objects of a namespace, or all."""
        if namespace:
            return self.by_index("namespace", namespace)
        return list(self._items.values())

    def by_index(self, index: str, value: str) -> builtins.list[Obj]:
        """The objects an index files under ``value``."""
        return list(self._indices[index].get(value, {}).values())

    def keys(self, index: str, value: str) -> Collection[Key]:
        """The keys of what an index files under ``value``."""
        return self._indices[index].get(value, {}).keys()

    def owned_by(self, uid: str) -> builtins.list[Obj]:
        """The objects whose controlling owner has that uid."""
        return self.by_index("controller", uid)

    def add_index(self, name: str, indexer: Indexer) -> None:
        """Adds an index (once per name); existing objects are filed at once."""
        if name in self._indexers:
            return
        self._indexers[name] = indexer
        self._indices[name] = {}
        for key, obj in self._items.items():
            self._file(name, key, obj)

    def add_handler(self, handler: Handler) -> None:
        """Calls ``handler`` for every change, beginning with what is cached already."""
        self._handlers.append(handler)
        for obj in list(self._items.values()):
            self._call(handler, None, obj)

    def remove_handler(self, handler: Handler) -> None:
        """Stops calling ``handler``."""
        self._handlers.remove(handler)

    async def run(self) -> None:
        """Keeps the cache up to date until cancelled."""
        failures = 0
        while True:
            try:
                if not self._version:
                    await self._relist()
                await self._follow()
                failures = 0
            except Gone:
                self._version = ""
            except (ApiError, ConnectionError) as error:
                if isinstance(error, NotFound | Forbidden):
                    self._refused, self._version = True, ""
                failures += 1
                delay = min(0.05 * 2**failures, _MAX_BACKOFF) * random.uniform(0.5, 1.0)
                log.debug("watch of %s: %s; again in %.2f s", self.resource, error, delay)
                await asyncio.sleep(delay)

    async def _relist(self) -> None:
        fresh, version = await self._all()
        for key in [key for key in self._items if key not in fresh]:
            self._remove(key)
        for key, obj in fresh.items():
            self._store(key, obj)
        self._version = version
        self._refused = False
        self._synced.set()

    async def _all(self) -> tuple[dict[Key, Obj], str]:
        """What there is, and the version to watch from."""
        # Where little of much is kept, never all of it at once.
        limit = _PAGE if self._keep is not None else 0
        fresh: dict[Key, Obj] = {}
        token = ""
        while True:
            found = await self._client.list(
                self.resource,
                self._namespace,
                labels=self._labels,
                limit=limit,
                continue_token=token,
            )
            fresh.update((key_of(obj), self._kept(obj)) for obj in found.items)
            token = found.continue_token
            if not token:
                return fresh, found.resource_version

    def _kept(self, obj: Obj) -> Obj:
        return obj if self._keep is None else self._keep(obj)

    async def _follow(self) -> None:
        stream = self._client.watch(
            self.resource,
            self._namespace,
            resource_version=self._version,
            labels=self._labels,
            bookmarks=True,
        )
        async for event in stream:
            obj = event.object
            match event.type:
                case "ADDED" | "MODIFIED":
                    self._store(key_of(obj), self._kept(obj))
                case "DELETED":
                    self._remove(key_of(obj), obj)
                case _:
                    pass
            self._version = resource_version(obj) or self._version

    def _store(self, key: Key, obj: Obj) -> None:
        old = self._items.get(key)
        if old is not None:
            if resource_version(old) == resource_version(obj):
                return
            self._unfile(key, old)
        self._items[key] = obj
        for index in self._indexers:
            self._file(index, key, obj)
        self._tell(old, obj)

    def _remove(self, key: Key, last: Obj | None = None) -> None:
        old = self._items.pop(key, None)
        if old is None:
            return
        self._unfile(key, old)
        self._tell(last or old, None)

    def _tell(self, old: Obj | None, new: Obj | None) -> None:
        for handler in tuple(self._handlers):
            self._call(handler, old, new)

    def _call(self, handler: Handler, old: Obj | None, new: Obj | None) -> None:
        try:
            handler(old, new)
        except Exception:
            # An object nobody thought of must not end the cache for all who use it.
            key = "/".join(key_of(new or old or {}))
            log.exception("%s %s cannot be followed", self.resource.kind, key)

    def _file(self, index: str, key: Key, obj: Obj) -> None:
        filed = self._indices[index]
        for value in self._indexers[index](obj):
            filed.setdefault(value, {})[key] = obj

    def _unfile(self, key: Key, obj: Obj) -> None:
        for index, indexer in self._indexers.items():
            filed = self._indices[index]
            for value in indexer(obj):
                bucket = filed.get(value)
                if bucket is not None:
                    bucket.pop(key, None)
                    if not bucket:
                        del filed[value]


class Informers:
    """One informer per resource for a whole process, each started on first use.

    Use as an async context manager: leaving it stops them all.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        # By path: who spells a resource without its short names means the same objects.
        self._informers: dict[str, Informer] = {}
        self._metadata: dict[str, Informer] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._running = False

    def of(self, resource: Resource) -> Informer:
        """The shared informer of a resource, running if the factory runs."""
        informer = self._informers.get(resource.path())
        if informer is None:
            informer = self._informers[resource.path()] = Informer(self.client, resource)
            if self._running:
                self._start(informer)
        return informer

    def metadata_of(self, resource: Resource) -> Informer:
        """The same, of nothing but what identifies an object, owns it or is in its way.

        For those who follow kinds of which others may keep much, and need no more of them.
        """
        informer = self._metadata.get(resource.path())
        if informer is None:
            informer = Informer(self.client, resource, keep=_identity)
            self._metadata[resource.path()] = informer
            if self._running:
                self._start(informer)
        return informer

    async def synced(self, *resources: Resource) -> None:
        """Waits until the informers of the given resources have their first list."""
        for resource in resources:
            await self.of(resource).wait_synced()

    async def __aenter__(self) -> Informers:
        self._running = True
        for informer in (*self._informers.values(), *self._metadata.values()):
            self._start(informer)
        return self

    async def __aexit__(self, *_: Any) -> None:
        self._running = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def _start(self, informer: Informer) -> None:
        name = f"informer {informer.resource}"
        self._tasks.append(asyncio.create_task(informer.run(), name=name))


def _identity(obj: Obj) -> Obj:
    metadata = obj["metadata"]
    return {"metadata": {field: metadata[field] for field in _IDENTITY if field in metadata}}


def _controller_uid(obj: Obj) -> tuple[str, ...]:
    owner = controller_of(obj)
    return (owner["uid"],) if owner else ()
