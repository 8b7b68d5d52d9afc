"""Level-triggered controllers.

A controller watches its kind, what it owns and whatever else it depends on; every change names a
key, and workers call ``reconcile(key)`` until it succeeds. Reconcilers read the present state and
move it towards the desired one; nothing is remembered between calls, so a crash costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Final

from kubeling.kube.errors import ApiError, Conflict, lacks_room
from kubeling.kube.informer import Handler, Informers
from kubeling.kube.objects import Key, Obj, controller_of, key_of, namespace
from kubeling.kube.queue import WorkQueue
from kubeling.kube.resources import Resource

__all__ = ["Controller", "MapFunction", "Reconcile", "Result", "run_controllers"]

log = logging.getLogger(__name__)

_ROOM_PAUSE: Final = 5.0
"""How soon to look whether a full disk has room again: people who made some wait for it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a reconciler asks for: to be called again after so many seconds."""

    requeue_after: float


Reconcile = Callable[[Key], Awaitable[Result | None]]
MapFunction = Callable[[Obj], Iterable[Key]]


@dataclass
class Controller:
    """One reconciler and what wakes it.

    ``owns`` are resources whose controlling owner is of this kind; ``watches`` maps changes of
    other resources to keys. Several workers never reconcile the same key at once. An exception is
    logged and tried again with back-off; a ``Conflict`` is normal and only tried again. What
    cannot be named beforehand (resources discovered while running) calls :meth:`wake`. Objects
    whose work has ``begun`` go before those that may wait for it.
    """

    name: str
    resource: Resource
    reconcile: Reconcile
    owns: Sequence[Resource] = ()
    watches: Mapping[Resource, MapFunction] = field(default_factory=dict)
    workers: int = 4
    begun: InitVar[Callable[[Key], bool]] = lambda _: True
    queue: WorkQueue[Key] = field(init=False, repr=False)

    def __post_init__(self, begun: Callable[[Key], bool]) -> None:
        self.queue = WorkQueue(begun=begun)

    def wake(self, key: Key) -> None:
        """Asks for a key to be reconciled soon."""
        self.queue.add(key)

    async def run(self, informers: Informers) -> None:
        """Reconciles until cancelled, after the caches have been filled."""
        queue = self.queue
        informers.of(self.resource).add_handler(_enqueue(queue, lambda obj: (key_of(obj),)))
        for owned in self.owns:
            informers.of(owned).add_handler(_enqueue(queue, self._owner_key))
        for watched, mapping in self.watches.items():
            informers.of(watched).add_handler(_enqueue(queue, mapping))
        await informers.synced(self.resource, *self.owns, *self.watches)
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self.workers):
                    group.create_task(self._work(queue), name=f"{self.name} worker {number}")
        finally:
            queue.close()

    def _owner_key(self, obj: Obj) -> tuple[Key, ...]:
        owner = controller_of(obj)
        if owner is None or owner.get("kind") != self.resource.kind:
            return ()
        if owner.get("apiVersion", "").partition("/")[0] != (
            self.resource.group or self.resource.version
        ):
            return ()
        return (Key(namespace(obj) if self.resource.namespaced else "", owner["name"]),)

    async def _work(self, queue: WorkQueue[Key]) -> None:
        while True:
            key = await queue.get()
            try:
                await self._reconcile_once(queue, key)
            finally:
                queue.done(key)

    async def _reconcile_once(self, queue: WorkQueue[Key], key: Key) -> None:
        try:
            result = await self.reconcile(key)
        except Conflict as error:
            log.debug("%s %s: %s", self.name, key, error)
            queue.add_rate_limited(key)
        except Exception as error:
            # One object's failure must not end the controller for all the others.
            full = lacks_room(error)
            delay = queue.add_rate_limited(key, _ROOM_PAUSE if full else math.inf)
            if full or isinstance(error, ApiError | ConnectionError):
                log.warning("%s %s: %s; again in %.2f s", self.name, key, error, delay)
            else:
                log.exception("%s %s failed; again in %.2f s", self.name, key, delay)
        else:
            queue.forget(key)
            if result is not None:
                queue.add_after(key, result.requeue_after)


async def run_controllers(controllers: Iterable[Controller], informers: Informers) -> None:
    """Runs controllers side by side until cancelled."""
    async with asyncio.TaskGroup() as group:
        for controller in controllers:
            group.create_task(controller.run(informers), name=f"controller {controller.name}")


def _enqueue(queue: WorkQueue[Key], mapping: MapFunction) -> Handler:
    def handler(old: Obj | None, new: Obj | None) -> None:
        keys: set[Key] = set()
        if old is not None:
            keys.update(mapping(old))
        if new is not None:
            keys.update(mapping(new))
        for key in keys:
            queue.add(key)

    return handler
