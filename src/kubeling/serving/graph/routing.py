"""InferenceGraphs at the inference gateway: its requests are their steps' requests, too.

A step that names a service is sent through the gateway itself, so that it is split, held while a
model starts, and counted like any other. Of the headers only those of tracing go on, and those that
an installation names: a step may lead outside, where nobody's token belongs. The answer of a last
step is passed on as it comes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from kubeling.component import Context, RequestHandler
from kubeling.kube.informer import Informer
from kubeling.kube.objects import Key, Obj, condition, is_condition_true, key_of, name, namespace
from kubeling.kube.resources import SERVICES
from kubeling.serving import names, spans
from kubeling.serving.arguments import model_name
from kubeling.serving.gateway.leaving import LEFT, while_there
from kubeling.serving.graph.calling import StepCaller
from kubeling.serving.graph.execution import Answer, GraphFailure, run
from kubeling.serving.graph.resources import INFERENCE_GRAPHS
from kubeling.serving.graph.timings import StepTimings
from kubeling.serving.resources import (
    CLUSTER_SERVING_RUNTIMES,
    INFERENCE_SERVICES,
    SERVING_RUNTIMES,
)
from kubeling.serving.settings import ServingSettings

if TYPE_CHECKING:
    from kubeling.monitoring.tracing import Span, Tracer
    from kubeling.serving.gateway.access import Access
    from kubeling.serving.gateway.connections import Connections

__all__ = ["GraphRouter"]

_STEP_HEADER: Final = "x-kubeling-step"
_PORTS: Final = {"http": 80, "https": 443}


class GraphRouter:
    """Answers the requests of graphs."""

    def __init__(
        self,
        context: Context,
        connections: Connections,
        is_service: Callable[[str], bool],
        access: Access | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._access = access if access is not None and access.on else None
        self.passes_tokens = self._access is not None
        """Whether steps at this gateway get the token of who asks: they need one, too."""
        self._informers = context.informers
        self._settings = context.settings
        self._connections = connections
        self._timings = StepTimings(context.metrics)
        self.propagated = ServingSettings.of(context.settings).propagates()
        """Headers that steps get from the request."""
        self._is_service = is_service
        """Whether a host name is a service's of the gateway."""
        self._graphs.add_index("host", lambda graph: names.host_names(graph, self._settings))
        self._graphs.add_handler(self._forget)

    @property
    def _graphs(self) -> Informer:
        return self._informers.of(INFERENCE_GRAPHS)

    def _forget(self, old: Obj | None, new: Obj | None) -> None:
        if new is None and old is not None:
            self._timings.forget(old)

    def find(self, key: Key) -> Obj | None:
        """The graph of a name."""
        return self._graphs.get(*key)

    def claims(self, host: str) -> bool:
        """Whether a host name is a graph's."""
        return bool(self._graphs.by_index("host", host))

    def by_host(self, host: str) -> RequestHandler | None:
        """What answers for a host name, if it is a graph's."""
        found = self._graphs.by_index("host", host)
        if not found:
            return None
        key = key_of(found[0])

        async def handler(request: web.Request) -> web.StreamResponse:
            if request.path == "/readyz":
                return web.Response(text="ok")
            return await self.answer(request, key)

        return handler

    async def answer(self, request: web.Request, key: Key) -> web.StreamResponse:
        """What the graph's steps answer together, as long as somebody waits for it."""
        if self._tracer is None:
            return await while_there(request, self._answer(request, key, None))
        about = {spans.NAMESPACE: key.namespace, spans.GRAPH: key.name}
        span = spans.request_of(self._tracer, request.method, request.path, request.headers, about)
        status = LEFT
        try:
            answer = await while_there(request, self._answer(request, key, span))
            status = answer.status
            return answer
        finally:
            spans.ended(span, status)

    async def _answer(
        self, request: web.Request, key: Key, span: Span | None
    ) -> web.StreamResponse:
        await self._informers.synced(INFERENCE_GRAPHS, INFERENCE_SERVICES, SERVICES)
        graph = self.find(key)
        if graph is None:
            return _failure(404, f'there is no InferenceGraph "{key.name}" in "{key.namespace}"')
        if self._access is not None:
            token = request.headers.get("Authorization")
            if refused := await self._access.refusal(key, token, INFERENCE_GRAPHS):
                return _failure(*refused)
        timeouts = graph["spec"].get("routerTimeouts") or {}
        try:
            async with _within(timeouts.get("serverRead"), 408, "the request was not read"):
                body = await request.read()
            if request.transport is None:
                return web.Response(status=LEFT)
            async with (
                _within(timeouts.get("serverWrite"), 504, "the steps did not answer"),
                contextlib.AsyncExitStack() as stack,
            ):
                session = await self._connections.session()
                caller = StepCaller(self, graph, request, session, stack, self._timings, span)
                answer = await run(graph["spec"]["nodes"], body, caller.call)
                return await _answered(request, answer)
        except GraphFailure as error:
            return _failure(error.status, str(error))

    def url_of(self, graph: Obj, step: Obj, own: str) -> tuple[str, str]:
        """Where a step is asked, and as which host; ``own`` is the gateway's address."""
        if title := step.get("serviceName"):
            isvc = self._informers.of(INFERENCE_SERVICES).get(namespace(graph), title)
            if isvc is None:
                raise GraphFailure(500, f'there is no InferenceService "{title}"')
            if not is_condition_true(isvc, "Ready") and not _takes_requests(isvc):
                ready = condition(isvc, "Ready")
                raise GraphFailure(500, f"{title} is not ready: {ready.message if ready else ''}")
            return f"{own}/serving/{namespace(graph)}/{title}{self._path(isvc)}", ""
        try:
            url = urlsplit(step["serviceUrl"])
            host, port = (url.hostname or "").lower(), url.port or _PORTS[url.scheme]
        except ValueError as error:
            raise GraphFailure(500, f"{step['serviceUrl']}: {error}") from None
        rest = url._replace(scheme="", netloc="").geturl()
        if self._is_service(host) or self.claims(host):
            return f"{own}{rest}", host
        service = self._service_of(host)
        address = (service or {}).get("spec", {}).get("clusterIP")
        if address and address != "None":
            return f"{url.scheme}://{address}:{port}{rest}", host
        return step["serviceUrl"], ""

    def _service_of(self, host: str) -> Obj | None:
        """The Service that a name within the cluster is of."""
        title, _, rest = host.partition(".")
        where, _, ending = rest.partition(".")
        if not where or ending not in ("", "svc", f"svc.{self._settings.cluster_domain}"):
            return None
        return self._informers.of(SERVICES).get(where, title)

    def _path(self, isvc: Obj) -> str:
        title = model_name(isvc)
        v1, v2 = f"/v1/models/{title}:predict", f"/v2/models/{title}/infer"
        protocol = (isvc["spec"]["predictor"].get("model") or {}).get("protocolVersion")
        if protocol is None:
            offered = self._offered(isvc)
            protocol = "v1" if not offered or "v1" in offered else offered[0]
        if protocol.startswith("grpc"):
            raise GraphFailure(500, f"{name(isvc)} speaks {protocol}, which graphs do not")
        return v2 if protocol == "v2" else v1

    def _offered(self, isvc: Obj) -> list[str]:
        status = isvc.get("status") or {}
        if title := status.get("servingRuntimeName"):
            runtime = self._informers.of(SERVING_RUNTIMES).get(namespace(isvc), title)
        else:
            title = status.get("clusterServingRuntimeName") or ""
            runtime = self._informers.of(CLUSTER_SERVING_RUNTIMES).get("", title)
        return (runtime or {}).get("spec", {}).get("protocolVersions") or []


def _takes_requests(isvc: Obj) -> bool:
    """Whether an earlier revision answers while the newest is not ready."""
    components = (isvc.get("status") or {}).get("components") or {}
    return bool((components.get("predictor") or {}).get("traffic"))


@contextlib.asynccontextmanager
async def _within(seconds: float | None, status: int, what: str) -> AsyncIterator[None]:
    """Fails with a status if something takes longer than a graph allows, if it does."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise GraphFailure(status, f"{what} within {seconds:g} s") from None


async def _answered(request: web.Request, answer: Answer) -> web.StreamResponse:
    """The answer of the last step, or what was made of several."""
    kind = "application/json" if _is_json(answer.body) else None
    # Names of steps are anything, and a header is not.
    named = answer.step and answer.step.isascii() and answer.step.isprintable()
    headers = {_STEP_HEADER: answer.step} if named else {}
    if answer.rest is None:
        return web.Response(
            status=answer.status, body=answer.body, content_type=kind, headers=headers
        )
    if answer.content_type:
        headers["Content-Type"] = answer.content_type
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    try:
        async for piece in answer.rest:
            await response.write(piece)
    except (aiohttp.ClientError, TimeoutError, asyncio.CancelledError) as error:
        # Its beginning is out: only a connection that ends says that the rest is missing.
        if request.transport is not None:
            request.transport.abort()
        if isinstance(error, asyncio.CancelledError):
            raise
        return response
    await response.write_eof()
    return response


def _is_json(body: bytes) -> bool:
    return body[:1] in (b"{", b"[", b'"') or body in (b"true", b"false", b"null")


def _failure(status: int, cause: str) -> web.Response:
    body = {"error": "Failed to process request", "cause": cause}
    return web.json_response(body, status=status)
