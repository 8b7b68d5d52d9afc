"""InferenceGraphs at the inference gateway: its requests are their steps' requests, too.

A step that names a service is sent through the gateway itself, so that it is split, held while a
model starts, and counted like any other. Of the headers only those of tracing go on: a step may
lead outside, where nobody's token belongs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from kubeling.component import Context, RequestHandler
from kubeling.kube.informer import Informer
from kubeling.kube.objects import Key, Obj, condition, is_condition_true, key_of, name, namespace
from kubeling.kube.resources import SERVICES
from kubeling.serving import names
from kubeling.serving.arguments import model_name
from kubeling.serving.graph.execution import Answer, GraphFailure, run
from kubeling.serving.graph.resources import INFERENCE_GRAPHS
from kubeling.serving.resources import (
    CLUSTER_SERVING_RUNTIMES,
    INFERENCE_SERVICES,
    SERVING_RUNTIMES,
)

__all__ = ["GraphRouter"]

_PROPAGATED: Final = re.compile(r"^(x-request-id|traceparent|tracestate|b3|x-b3-.*)$", re.I)
_DEFAULT_SECONDS: Final = 600.0


class GraphRouter:
    """Answers the requests of graphs."""

    def __init__(self, context: Context, is_service: Callable[[str], bool]) -> None:
        self._informers = context.informers
        self._domain = context.settings.ingress_domain
        self._is_service = is_service
        """Whether a host name is a service's of the gateway."""
        self._graphs.add_index("host", lambda graph: names.host_names(graph, self._domain))

    @property
    def _graphs(self) -> Informer:
        return self._informers.of(INFERENCE_GRAPHS)

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
        """What the graph's steps answer together."""
        await self._informers.synced(INFERENCE_GRAPHS, INFERENCE_SERVICES, SERVICES)
        graph = self.find(key)
        if graph is None:
            return _failure(404, f'there is no InferenceGraph "{key.name}" in "{key.namespace}"')
        nodes = graph["spec"]["nodes"]
        body = await request.read()
        try:
            async with aiohttp.ClientSession(timeout=_timeout(graph)) as session:
                asker = _Asker(self, graph, request, session)
                answer = await run(nodes, body, asker.call)
        except GraphFailure as error:
            return _failure(error.status, str(error))
        return web.Response(
            status=answer.status,
            body=answer.body,
            content_type="application/json" if _is_json(answer.body) else None,
        )

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
        url = urlsplit(step["serviceUrl"])
        host = (url.hostname or "").lower()
        rest = url._replace(scheme="", netloc="").geturl()
        if self._is_service(host) or self.claims(host):
            return f"{own}{rest}", host
        title, _, where = host.partition(".")
        service = self._informers.of(SERVICES).get(where.partition(".")[0], title)
        address = (service or {}).get("spec", {}).get("clusterIP")
        if address and address != "None":
            return f"{url.scheme}://{address}:{url.port or 80}{rest}", host
        return step["serviceUrl"], ""

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


class _Asker:
    """Asks the steps of one request."""

    def __init__(
        self, router: GraphRouter, graph: Obj, request: web.Request, session: aiohttp.ClientSession
    ) -> None:
        assert request.transport is not None
        host, port = request.transport.get_extra_info("sockname")[:2]
        self._own = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._router = router
        self._graph = graph
        self._session = session
        self._headers = {k: v for k, v in request.headers.items() if _PROPAGATED.match(k)}
        self._headers["Content-Type"] = request.headers.get("Content-Type", "application/json")

    async def call(self, step: Obj, body: bytes) -> Answer:
        url, host = self._router.url_of(self._graph, step, self._own)
        headers = {**self._headers, "Host": host} if host else self._headers
        try:
            async with self._session.post(url, data=body, headers=headers) as answer:
                return Answer(answer.status, await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            target = step.get("serviceName") or step.get("serviceUrl")
            said = str(error) or "it did not answer in time"
            raise GraphFailure(500, f"{target}: {said}") from error


def _takes_requests(isvc: Obj) -> bool:
    """Whether an earlier revision answers while the newest is not ready."""
    components = (isvc.get("status") or {}).get("components") or {}
    return bool((components.get("predictor") or {}).get("traffic"))


def _timeout(graph: Obj) -> aiohttp.ClientTimeout:
    """A step's timeout."""
    timeouts = graph["spec"].get("routerTimeouts") or {}
    seconds = timeouts.get("serviceClient") or graph["spec"].get("timeout")
    return aiohttp.ClientTimeout(total=float(seconds or _DEFAULT_SECONDS))


def _is_json(body: bytes) -> bool:
    return body[:1] in (b"{", b"[", b'"') or body in (b"true", b"false", b"null")


def _failure(status: int, cause: str) -> web.Response:
    body = {"error": "Failed to process request", "cause": cause}
    return web.json_response(body, status=status)
