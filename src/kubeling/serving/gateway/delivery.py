"""Brings a request to a pod: waits for one where waiting helps, and says why where it does not.

What goes to the pod, and by which protocol, is the caller's: :class:`Delivery` chooses the pod,
counts, and tries another one if the caller says that the first was not sent anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from kubeling.component import Context
from kubeling.kube.clock import Clock
from kubeling.kube.objects import Key, Obj, key_of
from kubeling.kube.resources import DEPLOYMENTS, PODS
from kubeling.serving.activator import Activator
from kubeling.serving.gateway import service
from kubeling.serving.gateway.counts import Counts
from kubeling.serving.gateway.endpoints import Endpoints
from kubeling.serving.gateway.splitting import Endpoint, Splitter
from kubeling.serving.names import ComponentName
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.traffic import RevisionRecord

__all__ = ["Delivery", "Place", "Undelivered", "Unreached"]

_LOOK_AGAIN_SECONDS: Final = 1.0
_RECONNECT_SECONDS: Final = 0.05

Answer = TypeVar("Answer")


class Unreached(Exception):
    """Another pod may be asked; says why this one did not answer, and whether it is ``gone``."""

    def __init__(self, message: str, *, gone: bool = True) -> None:
        super().__init__(message)
        self.gone = gone


class Undelivered(Exception):
    """No pod was asked; ``status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Place:
    """A pod's place for one request."""

    isvc: Obj
    revision: str
    endpoint: Endpoint
    record: RevisionRecord


Send = Callable[[Place], Awaitable[Answer]]
"""Sends a request to a pod; raises :class:`Unreached` if another one may be asked instead."""


class Delivery:
    """The requests of all services, on their way to pods."""

    def __init__(self, context: Context, counts: Counts, activator: Activator) -> None:
        self._informers = context.informers
        self._clock: Clock = context.clock
        self._counts = counts
        self._activator = activator
        self._endpoints = Endpoints(context.informers, activator)
        self._splitters: dict[Key, Splitter] = {}
        self._informers.of(INFERENCE_SERVICES).add_handler(self._forget)

    async def deliver(
        self,
        key: Key,
        send: Send[Answer],
        component: ComponentName | None = None,
        target: str = "",
    ) -> Answer:
        """The answer of a pod of the service; raises :class:`Undelivered` if none can.

        It waits where waiting helps: for a revision that is woken, and for a pod with room. What
        was sent to a pod is never sent again, so waiting costs nothing but time. ``target`` is the
        path within the service.
        """
        await self._informers.synced(INFERENCE_SERVICES, PODS, DEPLOYMENTS)
        isvc = self._service(key)
        if component is None and service.is_explanation(isvc, target):
            component = "explainer"
        end = self._clock.monotonic() + service.timeout_of(isvc)
        held: set[int] = set()
        with contextlib.ExitStack() as waiting:
            while True:
                starting = await self._wake(isvc)
                reason = ""
                if not starting:
                    waiting.close()
                    held.clear()
                    for place in self._places(isvc, component):
                        try:
                            with self._taken(place):
                                return await send(place)
                        except Unreached as error:
                            reason = str(error)
                            if error.gone:
                                self._splitter(key).failed(place.endpoint, self._clock.monotonic())
                left = end - self._clock.monotonic()
                if left <= 0 or not (starting or self._may_be_answered(isvc)):
                    raise Undelivered(503, reason or service.why_not_ready(isvc))
                for number in set(starting or service.heaviest(isvc)) - held:
                    waiting.enter_context(self._held(isvc, number))
                    held.add(number)
                # Who waits for a place, or for a pod to start, is told.
                told = starting or service.limit_of(isvc)
                pause = _LOOK_AGAIN_SECONDS if told else _RECONNECT_SECONDS
                await self._activator.change(key, min(left, pause))
                isvc = self._service(key)

    def _service(self, key: Key) -> Obj:
        isvc = self._informers.of(INFERENCE_SERVICES).get(*key)
        if isvc is None:
            text = f'there is no InferenceService "{key.name}" in "{key.namespace}"'
            raise Undelivered(404, text)
        return isvc

    def _places(self, isvc: Obj, component: ComponentName | None) -> Iterator[Place]:
        """Where to try, in this order."""
        key, limit = key_of(isvc), service.limit_of(isvc)
        splitter = self._splitter(key)
        found = self._endpoints.of(isvc, component)
        now = self._clock.monotonic()
        for revision, endpoint in splitter.order(service.weights_of(isvc), found, now):
            if not limit or splitter.load(endpoint) < limit:
                yield Place(isvc, revision, endpoint, self._counts.record(key, revision))

    @contextlib.contextmanager
    def _taken(self, place: Place) -> Iterator[None]:
        key = key_of(place.isvc)
        splitter = self._splitter(key)
        demand = self._counts.demand(key, service.number_of(place.revision))
        splitter.started(place.endpoint)
        demand.started(self._clock.monotonic())
        try:
            yield
        finally:
            demand.finished(self._clock.monotonic())
            splitter.finished(place.endpoint)
            if service.limit_of(place.isvc):
                self._activator.notify(key)

    @contextlib.contextmanager
    def _held(self, isvc: Obj, number: int) -> Iterator[None]:
        demand = self._counts.demand(key_of(isvc), number)
        demand.held(self._clock.monotonic())
        try:
            yield
        finally:
            demand.finished(self._clock.monotonic())

    async def _wake(self, isvc: Obj) -> list[int]:
        """Wakes what is at rest; the revisions that have to be waited for."""
        if not service.rests(isvc):
            return []
        weights = service.weights_of(isvc)
        numbers = [service.number_of(revision) for revision, percent in weights.items() if percent]
        for number in self._activator.resting(isvc, numbers):
            self._counts.woken(key_of(isvc))
            await self._activator.wake(isvc, number)
        starting = [number for number in numbers if self._activator.is_starting(isvc, number)]
        return [] if service.has_failed(isvc) else starting

    def _may_be_answered(self, isvc: Obj) -> bool:
        """Whether a request that no pod took may be taken by one soon."""
        if service.limit_of(isvc):
            return any(self._endpoints.of(isvc).values())
        return service.rests(isvc) and service.is_up_to_date(isvc)

    def _splitter(self, key: Key) -> Splitter:
        return self._splitters.setdefault(key, Splitter())

    def _forget(self, old: Obj | None, new: Obj | None) -> None:
        if new is None and old is not None:
            self._splitters.pop(key_of(old), None)
