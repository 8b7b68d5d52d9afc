"""The inference gateway: every served model at one address, split among its revisions.

Requests come by path (``/serving/{namespace}/{name}/v1/models/…``) or by ``Host``. Weights are read
from the service's status, pods from the cache of the API, so a change of either counts for the next
request. A request that could not be delivered at all is offered to another pod; one that was is
never sent twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp import web

from kubeling.component import Context, HostHandler, RequestHandler
from kubeling.kube.informer import Informer, Informers
from kubeling.kube.objects import (
    Key,
    Obj,
    condition,
    deletion_requested,
    key_of,
    labels,
    name,
    namespace,
)
from kubeling.kube.resources import PODS
from kubeling.serving import names
from kubeling.serving.observation import is_pod_ready, revision_of
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.splitting import Endpoint, Splitter
from kubeling.serving.traffic import TrafficRecord
from kubeling.serving.workloads import entry_component, serving_port

if TYPE_CHECKING:
    from multidict import CIMultiDict

__all__ = ["InferenceGateway", "gateway_of", "host_handler", "routes"]

REVISION_HEADER: Final = "x-kubeling-revision"

_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_CONNECT_SECONDS: Final = 5.0
_DEFAULT_SECONDS: Final = 600.0
_KEPT_ALIVE_SECONDS: Final = 4.0
_WHOLE: Final = 1 << 20

_gateways: WeakKeyDictionary[Informers, InferenceGateway] = WeakKeyDictionary()


def gateway_of(context: Context) -> InferenceGateway:
    """The one gateway of a platform: paths and hosts share its counts."""
    if context.informers not in _gateways:
        _gateways[context.informers] = InferenceGateway(context)
    return _gateways[context.informers]


def routes(context: Context) -> list[web.AbstractRouteDef]:
    """The gateway's paths."""
    gateway = gateway_of(context)
    return [
        web.route("*", "/serving/{namespace}/{name}", gateway.by_path),
        web.route("*", "/serving/{namespace}/{name}/{tail:.*}", gateway.by_path),
        web.get("/api/serving/{namespace}/{name}/traffic", gateway.traffic),
    ]


def host_handler(context: Context) -> HostHandler:
    """Claims requests whose ``Host`` is a service's."""
    return gateway_of(context).by_host


class InferenceGateway:
    """Sends requests to the pods of InferenceServices."""

    def __init__(self, context: Context) -> None:
        self._informers = context.informers
        self._domain = context.settings.ingress_domain
        self._splitters: dict[Key, Splitter] = {}
        self._records: dict[Key, TrafficRecord] = {}
        self._session: asyncio.Future[aiohttp.ClientSession] | None = None
        self._lifespan: asyncio.Task[None] | None = None
        self._services.add_index("host", lambda isvc: names.host_names(isvc, self._domain))
        self._pods.add_index("service", _service_index)
        self._services.add_handler(self._forget)

    @property
    def _services(self) -> Informer:
        return self._informers.of(INFERENCE_SERVICES)

    @property
    def _pods(self) -> Informer:
        return self._informers.of(PODS)

    async def by_path(self, request: web.Request) -> web.StreamResponse:
        """``/serving/{namespace}/{name}/…``."""
        key = Key(request.match_info["namespace"], request.match_info["name"])
        tail = request.raw_path.partition(f"/serving/{key.namespace}/{key.name}")[2]
        return await self.forward(request, key, tail or "/")

    def by_host(self, request: web.Request) -> RequestHandler | None:
        """What answers for the request's ``Host``, if it is a service's."""
        key = self.resolve_host(request.host)
        if key is None:
            return None

        async def handler(request: web.Request) -> web.StreamResponse:
            return await self.forward(request, key, request.raw_path)

        return handler

    def resolve_host(self, host: str) -> Key | None:
        """The service a host name (with or without port) belongs to."""
        found = self._services.by_index("host", host.partition(":")[0].lower())
        return key_of(found[0]) if found else None

    async def traffic(self, request: web.Request) -> web.Response:
        """How requests were split and answered since the gateway started."""
        key = Key(request.match_info["namespace"], request.match_info["name"])
        record = self._records.get(key) or TrafficRecord()
        return web.json_response({"revisions": record.to_json()})

    async def forward(self, request: web.Request, key: Key, target: str) -> web.StreamResponse:
        """Answers a request from a pod of the service, or says why none can."""
        await self._informers.synced(INFERENCE_SERVICES, PODS)
        isvc = self._services.get(*key)
        if isvc is None:
            return _error(404, f'there is no InferenceService "{key.name}" in "{key.namespace}"')
        splitter = self._splitters.setdefault(key, Splitter())
        session = await self._client()
        entry = "explainer" if _is_explanation(isvc, target) else ""
        for revision, endpoint in splitter.order(_weights(isvc), self._endpoints(isvc, entry)):
            splitter.started(endpoint)
            try:
                return await self._send(request, session, isvc, revision, endpoint, target)
            except aiohttp.ClientConnectorError:
                continue
            finally:
                splitter.finished(endpoint)
        return _error(503, _why_not_ready(isvc))

    async def _send(
        self,
        request: web.Request,
        session: aiohttp.ClientSession,
        isvc: Obj,
        revision: str,
        endpoint: Endpoint,
        target: str,
    ) -> web.StreamResponse:
        started = time.perf_counter()
        record = self._records.setdefault(key_of(isvc), TrafficRecord())
        status = 502
        try:
            async with session.request(
                request.method,
                f"http://{endpoint.address}{target}",
                data=request.content if request.can_read_body else None,
                headers=_request_headers(request),
                timeout=_timeout(isvc),
                allow_redirects=False,
            ) as answer:
                status = answer.status
                return await _passed_on(request, answer, revision)
        except aiohttp.ClientConnectorError:
            status = 0
            raise
        except TimeoutError:
            status = 504
            seconds = _timeout(isvc).total
            return _error(504, f"{revision} did not answer within {seconds:g} s", revision)
        except aiohttp.ClientError as error:
            return _error(502, f"{revision} broke off: {error or type(error).__name__}", revision)
        finally:
            if status:
                record.add(revision, status, time.perf_counter() - started)

    def _endpoints(self, isvc: Obj, entry: str = "") -> dict[str, list[Endpoint]]:
        """The ready pods of the component asked, filed under the predictor's revision."""
        pods: dict[int, dict[str, list[Obj]]] = {}
        for pod in self._pods.by_index("service", f"{namespace(isvc)}/{name(isvc)}"):
            of_revision = pods.setdefault(revision_of(pod), {})
            of_revision.setdefault(labels(pod).get(names.COMPONENT, ""), []).append(pod)
        found: dict[str, list[Endpoint]] = {}
        for number, components in pods.items():
            asked = components.get(entry or entry_component(components), ())
            revision = names.deployment_name(name(isvc), "predictor", number)
            found[revision] = [endpoint for pod in asked if (endpoint := _endpoint(pod))]
        return found

    async def _client(self) -> aiohttp.ClientSession:
        """The shared session; it lives in a task, so that the loop's end closes it."""
        if self._session is None:
            self._session = asyncio.get_running_loop().create_future()
            self._lifespan = asyncio.create_task(self._live(), name="inference gateway")
        return await asyncio.shield(self._session)

    async def _live(self) -> None:
        assert self._session is not None
        async with _session() as session:
            self._session.set_result(session)
            await asyncio.get_running_loop().create_future()

    def _forget(self, old: Obj | None, new: Obj | None) -> None:
        if new is None and old is not None:
            self._splitters.pop(key_of(old), None)
            self._records.pop(key_of(old), None)


@contextlib.asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_ALIVE_SECONDS)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        yield session


def _service_index(pod: Obj) -> tuple[str, ...]:
    isvc = labels(pod).get(names.SERVICE)
    return (f"{namespace(pod)}/{isvc}",) if isvc else ()


def _endpoint(pod: Obj) -> Endpoint | None:
    address = (pod.get("status") or {}).get("podIP")
    if not address or not is_pod_ready(pod) or deletion_requested(pod):
        return None
    return Endpoint(f"{address}:{serving_port(pod)}", name(pod))


def _is_explanation(isvc: Obj, target: str) -> bool:
    """Upstream sends the verb ``explain`` to the explainer, where there is one."""
    return bool(isvc["spec"].get("explainer")) and target.partition("?")[0].endswith(":explain")


def _weights(isvc: Obj) -> dict[str, int]:
    components = (isvc.get("status") or {}).get("components") or {}
    traffic = (components.get("predictor") or {}).get("traffic") or ()
    return {entry["revisionName"]: int(entry.get("percent") or 0) for entry in traffic}


def _timeout(isvc: Obj) -> aiohttp.ClientTimeout:
    seconds = isvc["spec"]["predictor"].get("timeout") or _DEFAULT_SECONDS
    return aiohttp.ClientTimeout(total=float(seconds), sock_connect=_CONNECT_SECONDS)


def _request_headers(request: web.Request) -> CIMultiDict[str]:
    headers = request.headers.copy()
    for header in _HOP_BY_HOP:
        headers.popall(header, None)
    headers.setdefault("X-Forwarded-Host", request.host)
    headers.setdefault("X-Forwarded-Proto", request.scheme)
    if request.remote:
        before = headers.get("X-Forwarded-For")
        headers["X-Forwarded-For"] = f"{before}, {request.remote}" if before else request.remote
    return headers


async def _passed_on(
    request: web.Request, answer: aiohttp.ClientResponse, revision: str
) -> web.StreamResponse:
    """The pod's answer: whole if it is small, else as it comes."""
    headers = _answer_headers(answer.headers, revision)
    length = answer.content_length
    if length is not None and length <= _WHOLE:
        return web.Response(body=await answer.read(), status=answer.status, headers=headers)
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


def _answer_headers(found: Mapping[str, str], revision: str) -> dict[str, str]:
    headers = {
        key: value
        for key, value in found.items()
        if key.lower() not in _HOP_BY_HOP and key.lower() != "content-length"
    }
    return {**headers, REVISION_HEADER: revision}


def _why_not_ready(isvc: Obj) -> str:
    ready = condition(isvc, "Ready")
    said = f": {ready.message}" if ready is not None and ready.message else ""
    return f"{name(isvc)} is not ready{said}"


def _error(status: int, message: str, revision: str = "") -> web.Response:
    body: dict[str, Any] = {"error": message}
    headers = {REVISION_HEADER: revision} if revision else {}
    if status == 503:
        headers["Retry-After"] = "1"
    return web.json_response(body, status=status, headers=headers)
