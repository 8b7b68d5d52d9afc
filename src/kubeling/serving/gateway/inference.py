"""Answers requests for InferenceServices, and for the graphs made of them.

Weights are read from the service's status, pods from the cache of the API, so a change of either
counts for the next request. A request that could not be delivered at all is offered to another pod;
one that was is never sent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from aiohttp import web

from kubeling.component import Context, RequestHandler
from kubeling.kube.informer import Informer
from kubeling.kube.objects import Key, Obj, key_of
from kubeling.serving import names
from kubeling.serving.activator import Activator
from kubeling.serving.demand import Demand
from kubeling.serving.gateway import metrics
from kubeling.serving.gateway.clients import Clients
from kubeling.serving.gateway.connections import Connections
from kubeling.serving.gateway.counts import Counts
from kubeling.serving.gateway.delivery import Delivery, Undelivered
from kubeling.serving.gateway.failures import Failure, trace_of
from kubeling.serving.gateway.http import LongWay
from kubeling.serving.gateway.http1.client import ShortWay
from kubeling.serving.gateway.leaving import LEFT, while_there
from kubeling.serving.gateway.passage import Passage
from kubeling.serving.gateway.proxying import REVISION_HEADER, error
from kubeling.serving.graph.routing import GraphRouter
from kubeling.serving.names import COMPONENTS, ComponentName
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.traffic import RevisionRecord

if TYPE_CHECKING:
    from kubeling.serving.gateway.grpc.entry import Calls

__all__ = ["InferenceGateway"]

_REMEMBERED: Final = 1000
"""Host names, of which anybody may make up new ones."""


class InferenceGateway:
    """Sends requests to the pods of InferenceServices."""

    def __init__(self, context: Context) -> None:
        self._informers = context.informers
        self._settings = context.settings
        self._connections = Connections()
        self._services.add_index("host", self._hosts)
        self.activator = Activator(context.client, context.informers)
        self.counts = Counts(context.informers, context.clock)
        self.delivery = Delivery(context, self.counts, self.activator)
        self._graphs = GraphRouter(
            context,
            self._connections,
            lambda host: bool(self._services.by_index("host", host)),
            self.delivery.access,
            self.delivery.tracer,
        )
        self._clients = Clients()
        self._calls: Calls | None = None
        self._claims: dict[str, tuple[Key, ComponentName | None] | None] = {}
        self.short_way = ShortWay(self.delivery, self._clients, self.claimed, self._is_service)
        self._services.add_handler(self._on_service)
        self.serves = False
        """Whether requests come through this gateway, and are counted by it."""

    @property
    def _services(self) -> Informer:
        return self._informers.of(INFERENCE_SERVICES)

    async def drained(self, seconds: float) -> None:
        """Lets the answers under way end, for a while; takes no more requests."""
        await self._clients.drained(seconds)
        if self._calls is not None:
            self._calls.close()
        if self.delivery.tracer is not None:
            await asyncio.to_thread(self.delivery.tracer.close)

    @property
    def calls(self) -> Calls:
        """gRPC, imported when the first client speaks it."""
        if self._calls is None:
            from kubeling.serving.gateway.grpc.entry import Calls

            self._calls = Calls(self.delivery, self._clients, self.claimed, self._graphs.claims)
        return self._calls

    def serve(self, context: Context) -> None:
        """Requests come through this gateway from now on."""
        self.serves = True
        metrics.declare(context.metrics, self.counts.records, self.counts.demands)

    async def by_path(self, request: web.Request) -> web.StreamResponse:
        """``/serving/{namespace}/{name}/…``."""
        key = Key(request.match_info["namespace"], request.match_info["name"])
        if self._services.get(*key) is None and self._graphs.find(key) is not None:
            return await self._graphs.answer(request, key)
        return await self.forward(request, key, _within_service(_origin_form(request)))

    def by_host(self, request: web.Request) -> RequestHandler | None:
        """What answers for the request's ``Host``, if it is a service's, a part's or a graph's."""
        host = request.host.partition(":")[0].lower()
        found = self.claimed(host)
        if found is None:
            return self._graphs.by_host(host)
        key, component = found

        async def handler(request: web.Request) -> web.StreamResponse:
            return await self.forward(request, key, _origin_form(request), component)

        return handler

    def claimed(self, host: str) -> tuple[Key, ComponentName | None] | None:
        """The service that a host name is of, and which of its components."""
        if host not in self._claims:
            if len(self._claims) > _REMEMBERED:
                self._claims.clear()
            self._claims[host] = self._claimed(host)
        return self._claims[host]

    def _claimed(self, host: str) -> tuple[Key, ComponentName | None] | None:
        found = self._services.by_index("host", host)
        if not found:
            return None
        isvc = next((s for s in found if host in names.host_names(s, self._settings)), found[0])
        return key_of(isvc), self._component_of(isvc, host)

    def demand(self, isvc: Obj, number: int) -> Demand:
        """What is asked of a revision."""
        return self.counts.demand(key_of(isvc), number)

    def record(self, key: Key, revision: str) -> RevisionRecord:
        """What a revision answered since the gateway started."""
        return self.counts.recorded(key, revision)

    def forget_record(self, key: Key, revision: str) -> None:
        """Begins what is counted of a revision anew."""
        self.counts.forget(key, revision)

    async def traffic(self, request: web.Request) -> web.Response:
        """How requests were split and answered since the gateway started."""
        key = Key(request.match_info["namespace"], request.match_info["name"])
        return web.json_response(self.counts.to_json(key))

    async def traffic_for_those_who_may_ask(self, request: web.Request) -> web.Response:
        """The same, with a token that a request to the service would need."""
        key = Key(request.match_info["namespace"], request.match_info["name"])
        try:
            await self.delivery.access.require(key, request.headers.get("Authorization"))
        except Undelivered as refused:
            return error(refused.status, refused.message)
        return await self.traffic(request)

    async def forward(
        self,
        request: web.Request,
        key: Key,
        target: str,
        component: ComponentName | None = None,
    ) -> web.StreamResponse:
        """Answers a request from a pod of the service, or says why none can."""
        passage = self._passage(request, key, target, component)
        status, why, revision = LEFT, "", ""
        try:
            answer = await self._answered(request, key, target, component, passage)
            status, revision = answer.status, answer.headers.get(REVISION_HEADER, "")
            return answer
        except Undelivered as refused:
            status, why = refused.status, refused.message
            return error(status, why)
        finally:
            if passage is not None:
                passage.ended(status, why)
            if status >= 500:
                self._tell_of_failure(request, key, target, passage, status, why, revision)

    async def _answered(
        self,
        request: web.Request,
        key: Key,
        target: str,
        component: ComponentName | None,
        passage: Passage | None,
    ) -> web.StreamResponse:
        def cut_short(status: int, why: str, revision: str) -> None:
            if passage is not None:
                passage.ended(status, why)
            self._tell_of_failure(request, key, target, passage, status, why, revision)

        way = LongWay(request, await self._connections.session(), target, cut_short, passage)
        await self.delivery.access.require(key, request.headers.get("Authorization"))
        delivered = self.delivery.deliver(key, way.send, component, target, passage=passage)
        return await while_there(request, delivered)

    def _passage(
        self, request: web.Request, key: Key, target: str, component: ComponentName | None
    ) -> Passage | None:
        if (tracer := self.delivery.tracer) is None:
            return None
        headers = request.headers
        return Passage.of_request(tracer, request.method, target, headers, key, component)

    def _tell_of_failure(
        self,
        request: web.Request,
        key: Key,
        target: str,
        passage: Passage | None,
        status: int,
        why: str,
        revision: str,
    ) -> None:
        trace = passage.request.trace_id if passage is not None else ""
        failed = Failure(
            key,
            f"{request.method} {target.partition('?')[0]}",
            str(status),
            why,
            revision,
            request_id=request.headers.get("X-Request-Id", ""),
            trace_id=trace or trace_of(request.headers.get("traceparent", "")),
        )
        self.delivery.failures.tell(failed)

    def _on_service(self, _: Obj | None, __: Obj | None) -> None:
        self._claims.clear()
        self.short_way.forget()

    def _is_service(self, key: Key) -> bool:
        return self._services.get(*key) is not None

    def _hosts(self, isvc: Obj) -> Iterator[str]:
        yield from names.host_names(isvc, self._settings)
        for component in COMPONENTS:
            if isvc["spec"].get(component):
                yield from names.host_names(isvc, self._settings, component)

    def _component_of(self, isvc: Obj, host: str) -> ComponentName | None:
        if host in names.host_names(isvc, self._settings):
            return None
        return next(
            (c for c in COMPONENTS if host in names.host_names(isvc, self._settings, c)), None
        )


def _origin_form(request: web.Request) -> str:
    """The target as a server gets it: proxies send whole URLs, and ``OPTIONS`` may name none."""
    target = request.raw_path
    return target if target.startswith("/") else f"/{request.rel_url.raw_path_qs.lstrip('/*')}"


def _within_service(target: str) -> str:
    """What follows ``/serving/{namespace}/{name}``, as the client wrote it."""
    path, mark, query = target.partition("?")
    return "/" + "/".join(path.split("/")[4:]) + mark + query
