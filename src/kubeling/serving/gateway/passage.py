"""A request's way through the gateway as spans: the request, its waiting, and each pod asked.

There is none while traces are off, so whoever moves a request asks first whether it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kubeling.kube.objects import Key
from kubeling.monitoring.tracing import Headers, Span, Tracer
from kubeling.serving import spans
from kubeling.serving.gateway.places import Place
from kubeling.serving.names import ComponentName

__all__ = ["Passage"]

Asking = Callable[[Span, Place, Mapping[str, Any]], Span]
Ending = Callable[[Span, Any, str], None]


class Passage:
    """The spans of one request, over HTTP or gRPC; an answer is a status, or the name of a code."""

    __slots__ = ("_asked", "_asking", "_asks", "_ending", "_lost", "_waiting", "request")

    def __init__(self, request: Span, asking: Asking, ending: Ending, lost: int | str) -> None:
        self.request = request
        self._lost = lost
        self._asking = asking
        self._ending = ending
        self._asked: Span | None = None
        self._waiting: Span | None = None
        self._asks = 0

    @classmethod
    def of_request(
        cls,
        tracer: Tracer,
        method: str,
        target: str,
        headers: Headers,
        key: Key,
        component: ComponentName | None,
    ) -> Passage:
        """Of a request over HTTP for a path within a service."""
        path = target.partition("?")[0]
        span = spans.request_of(tracer, method, path, headers, _about(key, component))

        def ask(request: Span, place: Place, about: Mapping[str, Any]) -> Span:
            return spans.client_of(request, method, place.endpoint.address, about)

        return cls(span, ask, spans.ended, 0)

    @classmethod
    def of_call(
        cls, tracer: Tracer, path: str, headers: Headers, key: Key, component: ComponentName | None
    ) -> Passage:
        """Of a call over gRPC."""
        span = spans.call_of(tracer, path, headers, _about(key, component))

        def ask(request: Span, place: Place, about: Mapping[str, Any]) -> Span:
            return spans.calling(request, path, place.endpoint.grpc, about)

        return cls(span, ask, spans.call_ended, "UNAVAILABLE")

    def waits(self, starting: bool) -> None:
        """It is held: for a pod that starts, or for a place at one that runs."""
        if self._waiting is None:
            name = "wait for a pod to start" if starting else "wait for a pod"
            self._waiting = self.request.child(name)

    def missed(self, why: str) -> None:
        """A pod was not reached, so that another one may be asked."""
        self.request.event("pod not reached", {"message": why})
        self.lost(why)

    def asks(self, place: Place) -> dict[str, str]:
        """A pod is asked, by a request that has these headers."""
        self._go_on()
        about: dict[str, Any] = {spans.REVISION: place.revision}
        if self._asks:
            about[spans.RESENT] = self._asks
        self._asks += 1
        self._asked = self._asking(self.request, place, about)
        return self._asked.headers()

    def asked(self, answer: Any, why: str = "") -> None:
        """The pod that was asked last answered."""
        if self._asked is not None:
            self._ending(self._asked, answer, why)
            self._asked = None

    def lost(self, why: str) -> None:
        """The pod that was asked last broke off without an answer."""
        self.asked(self._lost, why)

    def ended(self, answer: Any, why: str = "") -> None:
        """This is what the client was told, the first time that it is told something."""
        if self.request.ended:
            return
        self._go_on()
        self.asked(answer, why)
        self._ending(self.request, answer, why)

    def _go_on(self) -> None:
        if self._waiting is not None:
            self._waiting.end()
            self._waiting = None


def _about(key: Key, component: ComponentName | None) -> dict[str, Any]:
    found: dict[str, Any] = {spans.NAMESPACE: key.namespace, spans.SERVICE: key.name}
    if component is not None:
        found[spans.COMPONENT] = component
    return found
