"""Brings a request to a pod: waits for one where waiting helps, and says why where it does not.

What goes to the pod, and by which protocol, is the caller's: :class:`Delivery` chooses the pod,
counts, and tries another one if the caller says that the first was not sent anything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final, TypeVar

from kubeling.component import Context
from kubeling.kube.objects import Key, Obj, key_of
from kubeling.monitoring.tracing import open_tracer
from kubeling.serving.activator import Activator
from kubeling.serving.gateway import service
from kubeling.serving.gateway.access import Access
from kubeling.serving.gateway.counts import Counts
from kubeling.serving.gateway.failures import Failures
from kubeling.serving.gateway.passage import Passage
from kubeling.serving.gateway.places import Place, Places
from kubeling.serving.gateway.refusals import Undelivered, Unreached
from kubeling.serving.gateway.routes import Route, Routes
from kubeling.serving.gateway.splitting import Splitter
from kubeling.serving.names import ComponentName
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.tracing import gateway_variables

__all__ = ["Delivery", "Place", "Undelivered", "Unreached"]

_TRACED_AS: Final = "kubeling-inference-gateway"
_LOOK_AGAIN_SECONDS: Final = 1.0
_RECONNECT_SECONDS: Final = 0.05
_CONNECT_SECONDS: Final = 1.0
_ARE_YOU_THERE: Final = b"GET /v2/health/live HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
_SPARE_SECONDS: Final = 15.0
_WITH_SPARE: Final = 2
"""Pods that have to be there for a request that one may have died of."""

Answer = TypeVar("Answer")


Send = Callable[[Place], Awaitable[Answer]]
"""Sends a request to a pod; raises :class:`Unreached` if another one may be asked instead."""


class Delivery:
    """The requests of all services, on their way to pods."""

    def __init__(self, context: Context, counts: Counts, activator: Activator) -> None:
        self._clock = context.clock
        self.access = Access(context)
        self.counts = counts
        self.activator = activator
        self.failures = Failures(context.clock)
        self.tracer = open_tracer(_TRACED_AS, gateway_variables(context.settings))
        self._routes = Routes(context, activator)
        self._splitters: dict[Key, Splitter] = {}
        self._places: dict[Key, Places] = {}
        counts.on_forget(lambda key: self._places.pop(key, None))
        context.informers.of(INFERENCE_SERVICES).add_handler(self._forget)

    def now(self) -> float:
        """The time that demand is counted by."""
        return self._clock.monotonic()

    def place(self, key: Key, target: str, component: ComponentName | None = None) -> Place | None:
        """Where to send a request at once, if nothing has to be woken or waited for."""
        route = self._routes.of(key)
        if route is None or not route.awake:
            return None
        return self._places_of(route).first(_entry(route, target, component), self.now())

    async def deliver(
        self,
        key: Key,
        send: Send[Answer],
        component: ComponentName | None = None,
        target: str = "",
        broken: Unreached | None = None,
        passage: Passage | None = None,
    ) -> Answer:
        """The answer of a pod of the service; raises :class:`Undelivered` if none can.

        It waits where waiting helps: for a revision that is woken, for a pod with room, and for
        another pod beside the one that is asked, if one has died with this request: ``broken`` is
        how one broke off. ``target`` is the path within the service, ``passage`` the request's
        trace.
        """
        await self._routes.synced()
        died_of_it = await _died(broken)
        died_at = broken.broke_off if broken is not None else ""
        just_now = bool(died_of_it)
        route = self._route(key)
        entry = _entry(route, target, component)
        end = self.now() + route.timeout
        until = min(end, self.now() + _SPARE_SECONDS)
        held: set[int] = set()
        with contextlib.ExitStack() as waiting:
            while True:
                starting = [] if route.awake else await self._wake(route)
                reason = ""
                if not starting and (not died_of_it or self._has_spare(route, entry)):
                    waiting.close()
                    held.clear()
                    for place in self._places_after(died_at, route, entry):
                        place.take(self.now())
                        try:
                            return await send(place)
                        except Unreached as error:
                            reason = str(error)
                            if passage is not None:
                                passage.missed(reason)
                            died = await _died(error)
                            if error.gone or died:
                                self.failed(place)
                            if died:
                                died_of_it, just_now = died, True
                                died_at = error.broke_off
                                until = min(end, self.now() + _SPARE_SECONDS)
                                break
                        finally:
                            place.leave(self.now())
                left = (until if died_of_it else end) - self.now()
                if died_of_it:
                    alone = just_now and route.pods(entry) < _WITH_SPARE
                    if left <= 0 or alone:
                        raise Undelivered(502, died_of_it)
                elif left <= 0 or not (starting or _may_be_answered(route)):
                    raise Undelivered(503, reason or service.why_not_ready(route.isvc))
                for number in set(starting or service.heaviest(route.isvc)) - held:
                    waiting.enter_context(self._held(key, number))
                    held.add(number)
                if passage is not None:
                    passage.waits(starting=bool(starting))
                # Who waits for a place, or for a pod to start, is told.
                told = starting or route.limit or died_of_it
                pause = _LOOK_AGAIN_SECONDS if told else _RECONNECT_SECONDS
                if not (just_now and self._has_spare(route, entry)):
                    await self.activator.change(key, min(left, pause))
                route, just_now = self._route(key), False

    def _has_spare(self, route: Route, entry: ComponentName | None) -> bool:
        """Whether a pod is left if the one that is asked dies of it."""
        found = route.endpoints(entry)
        able = [
            one
            for title, percent in route.weights.items()
            if percent
            for one in found.get(title, ())
        ]
        return self._splitter(route.key).reachable(able, self.now()) >= _WITH_SPARE

    def failed(self, place: Place) -> None:
        """The pod of a place could not be reached."""
        place.splitter.failed(place.endpoint, self.now())

    def _route(self, key: Key) -> Route:
        route = self._routes.of(key)
        if route is None:
            text = f'there is no InferenceService "{key.name}" in "{key.namespace}"'
            raise Undelivered(404, text)
        return route

    def _places_after(
        self, address: str, route: Route, component: ComponentName | None
    ) -> Iterable[Place]:
        """Where to try, but last the pod that died with the request: it has only just come back."""
        found = self._places_of(route).in_order(component, self.now())
        if not address:
            return found
        return sorted(found, key=lambda place: place.endpoint.address == address)

    def _places_of(self, route: Route) -> Places:
        found = self._places.get(route.key)
        if found is None or found.route is not route:
            splitter = self._splitter(route.key)
            found = Places(route, splitter, self.counts, self.activator.notify)
            self._places[route.key] = found
        return found

    @contextlib.contextmanager
    def _held(self, key: Key, number: int) -> Iterator[None]:
        demand = self.counts.demand(key, number)
        demand.held(self.now())
        demand.waiting += 1
        try:
            yield
        finally:
            demand.waiting -= 1
            demand.finished(self.now())

    async def _wake(self, route: Route) -> list[int]:
        """Wakes what is at rest; the revisions that have to be waited for."""
        isvc, numbers = route.isvc, route.numbers()
        for number in self.activator.resting(isvc, numbers):
            self.counts.woken(route.key)
            await self.activator.wake(isvc, number)
        starting = [number for number in numbers if self.activator.is_starting(isvc, number)]
        return [] if service.has_failed(isvc) else starting

    def _splitter(self, key: Key) -> Splitter:
        return self._splitters.setdefault(key, Splitter())

    def _forget(self, old: Obj | None, new: Obj | None) -> None:
        if new is None and old is not None:
            self._splitters.pop(key_of(old), None)
            self._places.pop(key_of(old), None)


def _entry(route: Route, target: str, component: ComponentName | None) -> ComponentName | None:
    """The component that a request enters by, if it is not the usual one."""
    explains = component is None and route.explains and service.is_explanation(target)
    return "explainer" if explains else component


def _may_be_answered(route: Route) -> bool:
    """Whether a request that no pod took may be taken by one soon."""
    if route.limit:
        return any(route.endpoints().values())
    return service.rests(route.isvc) and service.is_up_to_date(route.isvc)


async def _died(error: Unreached | None) -> str:
    """How a pod died that had the request; empty if it did not, and only closed a connection.

    That it takes connections shows nothing: those of a process that ends are closed one by one.
    """
    if error is None or not error.broke_off:
        return ""
    host, _, port = error.broke_off.rpartition(":")
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError):
        return str(error)
    with contextlib.closing(writer):
        writer.write(_ARE_YOU_THERE % error.broke_off.encode())
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return "" if await reader.read(1) else str(error)
        except TimeoutError:
            return ""
        except OSError:
            return str(error)
