"""The way to LLM services through the gateway, at upstream's paths.

``/{namespace}/{name}/v1/…`` and ``/publishers/{namespace}/models/{model}/v1/…`` (config/
llmisvcconfig/config-llm-router-route.yaml). Upstream asks an Endpoint Picker which pod is to
answer; here it is the one with the fewest requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import aiohttp
from aiohttp import web

from kubeling.component import Context
from kubeling.kube.objects import (
    Key,
    Obj,
    condition,
    deletion_requested,
    labels,
    mapping,
    name,
    namespace,
)
from kubeling.kube.resources import PODS
from kubeling.serving.gateway import proxying
from kubeling.serving.gateway.access import Access
from kubeling.serving.gateway.connections import Connections
from kubeling.serving.gateway.leaving import while_there
from kubeling.serving.gateway.splitting import Endpoint, Splitter
from kubeling.serving.llm import workload
from kubeling.serving.llm.resources import LLM_SERVICES
from kubeling.serving.observation import is_pod_ready

__all__ = ["LLMRouter", "routes"]

_CONNECT_SECONDS: Final = 5.0
_PAGES: Final = "v1|openai|health|metrics"
_UNREACHED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def routes(context: Context) -> list[web.AbstractRouteDef]:
    """The paths of LLM services."""
    router = LLMRouter(context)
    return [
        web.route("*", "/publishers/{namespace}/models/{model:.+}/{page:v1/.*}", router.by_model),
        web.route("*", f"/{{namespace}}/{{name}}/{{page:(?:{_PAGES})(?:/.*)?}}", router.by_name),
    ]


class LLMRouter:
    """Sends requests to pods of LLMInferenceServices."""

    def __init__(self, context: Context) -> None:
        self._informers = context.informers
        self._splitters: dict[Key, Splitter] = {}
        self._connections = Connections()
        self._access = Access(context)
        self._informers.of(PODS).add_index("llm", _llm_index)
        self._informers.of(LLM_SERVICES).add_handler(self._forget)

    async def by_name(self, request: web.Request) -> web.StreamResponse:
        """``/{namespace}/{name}/v1/…``."""
        found = request.match_info
        await self._informers.synced(LLM_SERVICES, PODS)
        llm = self._informers.of(LLM_SERVICES).get(found["namespace"], found["name"])
        prefix = f"/{found['namespace']}/{found['name']}"
        # Not the raw path, which is a whole address where one is asked for.
        target = request.rel_url.raw_path_qs.removeprefix(prefix)
        return await self._answer(request, llm, target)

    async def by_model(self, request: web.Request) -> web.StreamResponse:
        """``/publishers/{namespace}/models/{model}/v1/…``."""
        found = request.match_info
        await self._informers.synced(LLM_SERVICES, PODS)
        named = (
            llm
            for llm in self._informers.of(LLM_SERVICES).list(found["namespace"])
            if mapping(llm["spec"].get("model")).get("name", name(llm)) == found["model"]
        )
        query = f"?{asked}" if (asked := request.rel_url.raw_query_string) else ""
        # As the client wrote it: what was matched is unquoted, and would say something else.
        page = request.rel_url.raw_path.rpartition("/v1/")[2]
        return await self._answer(request, next(named, None), f"/v1/{page}{query}")

    async def _answer(
        self, request: web.Request, llm: Obj | None, target: str
    ) -> web.StreamResponse:
        if llm is None:
            raise web.HTTPNotFound
        key = Key(namespace(llm), name(llm))
        if self._access.on:
            token = request.headers.get("Authorization")
            if refused := await self._access.refusal(key, token, LLM_SERVICES):
                return proxying.error(*refused)
        if not _has_route(llm):
            text = f"{name(llm)} has no route; set spec.router.route to {{}}"
            return proxying.error(404, text)
        splitter = self._splitters.setdefault(key, Splitter())
        session = await self._connections.session()
        for _, endpoint in splitter.order({"": 1}, {"": list(self._endpoints(key))}):
            splitter.started(endpoint)
            try:
                return await while_there(request, _sent(request, session, endpoint, target))
            except _UNREACHED:
                continue
            finally:
                splitter.finished(endpoint)
        return proxying.error(503, _why_not(llm))

    def _endpoints(self, key: Key) -> Iterator[Endpoint]:
        for pod in self._informers.of(PODS).by_index("llm", f"{key.namespace}/{key.name}"):
            address = (pod.get("status") or {}).get("podIP")
            if address and is_pod_ready(pod) and not deletion_requested(pod):
                yield Endpoint(f"{address}:{workload.port_of(pod)}", name(pod))

    def _forget(self, old: Obj | None, new: Obj | None) -> None:
        if new is None and old is not None:
            self._splitters.pop(Key(namespace(old), name(old)), None)


async def _sent(
    request: web.Request, session: aiohttp.ClientSession, endpoint: Endpoint, target: str
) -> web.StreamResponse:
    """The pod's answer, as it comes; what was sent is never sent again."""
    try:
        async with session.request(
            request.method,
            proxying.pod_url(endpoint.address, target),
            data=request.content if request.can_read_body else None,
            headers=proxying.request_headers(request),
            # Texts take as long as they take: upstream's routes have no timeout either.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            allow_redirects=False,
        ) as answer:
            return await proxying.passed_on(request, answer, endpoint.pod)
    except _UNREACHED:
        raise
    except (aiohttp.ClientError, TimeoutError) as broken:
        said = str(broken) or type(broken).__name__
        return proxying.error(502, f"{endpoint.pod} broke off: {said}", endpoint.pod)


def _has_route(llm: Obj) -> bool:
    """By the status, which knows what configurations add; a service that is new has none yet."""
    return bool((llm.get("status") or {}).get("url"))


def _why_not(llm: Obj) -> str:
    ready = condition(llm, "Ready")
    if ready is not None and ready.status == "True":
        return f"no pod of {name(llm)} is ready; has it replicas?"
    said = f": {ready.message}" if ready is not None and ready.message else ""
    return f"{name(llm)} is not ready{said}"


def _llm_index(pod: Obj) -> tuple[str, ...]:
    if not workload.is_workload(pod):
        return ()
    return (f"{namespace(pod)}/{labels(pod).get(workload.NAME_LABEL, '')}",)
