"""The pods of a service as places for requests, made once for as long as nothing about it changes.

Most services have one pod, which takes any number of requests: theirs are found without a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kubeling.kube.objects import Key
from kubeling.serving.demand import Demand
from kubeling.serving.gateway import service
from kubeling.serving.gateway.counts import Counts
from kubeling.serving.gateway.proxying import REVISION_HEADER
from kubeling.serving.gateway.routes import Route
from kubeling.serving.gateway.splitting import Endpoint, Splitter
from kubeling.serving.names import ComponentName
from kubeling.serving.traffic import RevisionRecord

__all__ = ["Freed", "Place", "Places"]

Freed = Callable[[Key], None]
"""Is told of a service one of whose pods has room again, where there is a limit."""


class Place:
    """A pod's place for requests; each counts from :meth:`take` to :meth:`leave`."""

    __slots__ = (
        *("_demand", "_freed", "endpoint", "record", "revision", "route"),
        *("shown", "shown_last", "splitter"),
    )

    def __init__(
        self,
        route: Route,
        revision: str,
        endpoint: Endpoint,
        splitter: Splitter,
        record: RevisionRecord,
        demand: Demand,
        freed: Freed,
    ) -> None:
        self.route = route
        self.revision = revision
        self.endpoint = endpoint
        self.splitter = splitter
        self.record = record
        self._demand = demand
        self._freed = freed
        self.shown = f"{REVISION_HEADER}: {revision}\r\n\r\n".encode()
        """What ends the head of an answer over HTTP/1."""
        self.shown_last = b"Connection: close\r\n" + self.shown
        """The same, where the connection ends with the answer."""

    def take(self, now: float) -> None:
        """A request is on its way to the pod."""
        self.splitter.started(self.endpoint)
        self._demand.started(now)

    def leave(self, now: float) -> None:
        """A request has ended, or did not get there."""
        self._demand.finished(now)
        self.splitter.finished(self.endpoint)
        if self.route.limit:
            self._freed(self.route.key)


class Places:
    """The places of one route."""

    def __init__(self, route: Route, splitter: Splitter, counts: Counts, freed: Freed) -> None:
        self.route = route
        self._splitter = splitter
        self._counts = counts
        self._freed = freed
        self._made: dict[tuple[str, str], Place] = {}
        self._only: dict[ComponentName | None, Place | None] = {}

    def first(self, component: ComponentName | None, now: float) -> Place | None:
        """Where the next request goes, if there is room for it."""
        if component not in self._only:
            self._only[component] = self._find_only(component)
        return self._only[component] or next(self.in_order(component, now), None)

    def in_order(self, component: ComponentName | None, now: float) -> Iterator[Place]:
        """Where to try, in this order."""
        route, splitter = self.route, self._splitter
        for revision, endpoint in splitter.order(route.weights, route.endpoints(component), now):
            if not route.limit or splitter.load(endpoint) < route.limit:
                yield self._place(revision, endpoint)

    def _find_only(self, component: ComponentName | None) -> Place | None:
        """The place that is every request's, if there is no other and no limit."""
        found = self.route.endpoints(component)
        able = [(r, e) for r, w in self.route.weights.items() if w > 0 for e in found.get(r, ())]
        return None if self.route.limit or len(able) != 1 else self._place(*able[0])

    def _place(self, revision: str, endpoint: Endpoint) -> Place:
        at = (revision, endpoint.address)
        if at not in self._made:
            key = self.route.key
            record = self._counts.record(key, revision)
            demand = self._counts.demand(key, service.number_of(revision))
            made = Place(
                self.route, revision, endpoint, self._splitter, record, demand, self._freed
            )
            self._made[at] = made
        return self._made[at]
