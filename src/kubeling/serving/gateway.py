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
from collections.abc import Iterator
from typing import Final
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
    uid,
)
from kubeling.kube.resources import DEPLOYMENTS, PODS
from kubeling.serving import gateway_metrics, names, proxying, websockets
from kubeling.serving.activator import Activator
from kubeling.serving.demand import Demand
from kubeling.serving.graph.routing import GraphRouter
from kubeling.serving.names import COMPONENTS, ComponentName
from kubeling.serving.observation import is_pod_ready, revision_of
from kubeling.serving.proxying import error
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.scaling import policy_of
from kubeling.serving.splitting import Endpoint, Splitter
from kubeling.serving.traffic import RevisionRecord, TrafficRecord
from kubeling.serving.workloads import entry_component, serving_port

__all__ = ["InferenceGateway", "gateway_of", "host_handler", "routes"]

_CONNECT_SECONDS: Final = 5.0
_DEFAULT_SECONDS: Final = 600.0
_LOOK_AGAIN_SECONDS: Final = 1.0
_RECONNECT_SECONDS: Final = 0.05
_RECENT_SECONDS: Final = 120

_gateways: WeakKeyDictionary[Informers, InferenceGateway] = WeakKeyDictionary()


def gateway_of(context: Context) -> InferenceGateway:
    """The one gateway of a platform: paths and hosts share its counts."""
    if context.informers not in _gateways:
        _gateways[context.informers] = InferenceGateway(context)
    return _gateways[context.informers]


def routes(context: Context) -> list[web.AbstractRouteDef]:
    """The gateway's paths."""
    gateway = gateway_of(context)
    gateway.serve(context)
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
        self._demands: dict[Key, dict[int, Demand]] = {}
        self._clock = context.clock
        self._graphs = GraphRouter(
            context, lambda host: bool(self._services.by_index("host", host))
        )
        self.activator = Activator(context.client, context.informers)
        self.serves = False
        """Whether requests come through this gateway, and are counted by it."""
        self._session: asyncio.Future[aiohttp.ClientSession] | None = None
        self._lifespan: asyncio.Task[None] | None = None
        self._services.add_index("host", self._hosts)
        self._pods.add_index("service", _service_index)
        self._services.add_handler(self._forget)

    @property
    def _services(self) -> Informer:
        return self._informers.of(INFERENCE_SERVICES)

    @property
    def _pods(self) -> Informer:
        return self._informers.of(PODS)

    def serve(self, context: Context) -> None:
        """Requests come through this gateway from now on."""
        self.serves = True
        gateway_metrics.declare(context.metrics, self._records, self._demands)

    async def by_path(self, request: web.Request) -> web.StreamResponse:
        """``/serving/{namespace}/{name}/…``."""
        key = Key(request.match_info["namespace"], request.match_info["name"])
        tail = request.raw_path.partition(f"/serving/{key.namespace}/{key.name}")[2]
        if self._services.get(*key) is None and self._graphs.find(key) is not None:
            return await self._graphs.answer(request, key)
        return await self.forward(request, key, tail or "/")

    def by_host(self, request: web.Request) -> RequestHandler | None:
        """What answers for the request's ``Host``, if it is a service's, a part's or a graph's."""
        host = request.host.partition(":")[0].lower()
        found = self._services.by_index("host", host)
        if not found:
            return self._graphs.by_host(host)
        isvc = next((s for s in found if host in names.host_names(s, self._domain)), found[0])
        key, component = key_of(isvc), self._component_of(isvc, host)

        async def handler(request: web.Request) -> web.StreamResponse:
            return await self.forward(request, key, request.raw_path, component)

        return handler

    def demand(self, isvc: Obj, number: int) -> Demand:
        """What is asked of a revision."""
        revisions = self._demands.setdefault(key_of(isvc), {})
        if number not in revisions:
            revisions[number] = Demand(self._clock.monotonic())
        return revisions[number]

    def record(self, key: Key, revision: str) -> RevisionRecord:
        """What a revision answered since the gateway started."""
        record = self._records.get(key) or TrafficRecord()
        return record.revisions.get(revision) or RevisionRecord()

    def forget_record(self, key: Key, revision: str) -> None:
        """Begins what is counted of a revision anew."""
        if record := self._records.get(key):
            record.revisions.pop(revision, None)

    def _hosts(self, isvc: Obj) -> Iterator[str]:
        yield from names.host_names(isvc, self._domain)
        for component in COMPONENTS:
            if isvc["spec"].get(component):
                yield from names.host_names(isvc, self._domain, component)

    def _component_of(self, isvc: Obj, host: str) -> ComponentName | None:
        if host in names.host_names(isvc, self._domain):
            return None
        return next(
            (c for c in COMPONENTS if host in names.host_names(isvc, self._domain, c)), None
        )

    async def traffic(self, request: web.Request) -> web.Response:
        """How requests were split and answered since the gateway started."""
        key = Key(request.match_info["namespace"], request.match_info["name"])
        record = self._records.get(key) or TrafficRecord()
        now = self._clock.monotonic()
        demand = {
            names.deployment_name(key.name, "predictor", number): {
                "in_flight": found.in_flight,
                "per_second": found.recent(now, _RECENT_SECONDS),
            }
            for number, found in self._demands.get(key, {}).items()
        }
        return web.json_response(
            {"revisions": record.to_json(), "demand": demand, "wakes": record.wakes}
        )

    async def forward(
        self,
        request: web.Request,
        key: Key,
        target: str,
        component: ComponentName | None = None,
    ) -> web.StreamResponse:
        """Answers a request from a pod of the service, or says why none can.

        It waits where waiting helps: for a revision that is woken, and for a pod with room. What
        was sent to a pod is never sent again, so waiting costs nothing but time.
        """
        await self._informers.synced(INFERENCE_SERVICES, PODS, DEPLOYMENTS)
        isvc = self._services.get(*key)
        if isvc is None:
            return _unknown(key)
        if component is None and _is_explanation(isvc, target):
            component = "explainer"
        end = self._clock.monotonic() + float(_timeout(isvc).total or _DEFAULT_SECONDS)
        held: set[int] = set()
        with contextlib.ExitStack() as waiting:
            while isvc is not None:
                starting = await self._wake(isvc)
                if not starting:
                    waiting.close()
                    held.clear()
                    answer = await self._try(request, isvc, target, component)
                    if answer is not None:
                        return answer
                left = end - self._clock.monotonic()
                if left <= 0 or not (starting or self._may_be_answered(isvc)):
                    return error(503, _why_not_ready(isvc))
                for number in set(starting or _heaviest(isvc)) - held:
                    waiting.enter_context(self._held(isvc, number))
                    held.add(number)
                # Who waits for a place, or for a pod to start, is told.
                told = starting or _limit(isvc)
                pause = _LOOK_AGAIN_SECONDS if told else _RECONNECT_SECONDS
                await self.activator.change(key, min(left, pause))
                isvc = self._services.get(*key)
        return _unknown(key)

    async def _try(
        self, request: web.Request, isvc: Obj, target: str, component: ComponentName | None
    ) -> web.StreamResponse | None:
        """The answer of the first pod that takes the request; ``None`` if there is none."""
        key = key_of(isvc)
        splitter = self._splitters.setdefault(key, Splitter())
        limit = _limit(isvc)
        session = await self._client()
        for revision, endpoint in splitter.order(_weights(isvc), self._endpoints(isvc, component)):
            if limit and splitter.load(endpoint) >= limit:
                continue
            splitter.started(endpoint)
            try:
                with self._counted(isvc, _number(revision)):
                    return await self._send(request, session, isvc, revision, endpoint, target)
            except proxying.UNREACHED:
                continue
            finally:
                splitter.finished(endpoint)
                if limit:
                    self.activator.notify(key)
        return None

    async def _wake(self, isvc: Obj) -> list[int]:
        """Wakes what is at rest; the revisions that have to be waited for."""
        if not _rests(isvc):
            return []
        numbers = [_number(revision) for revision, percent in _weights(isvc).items() if percent]
        for number in self.activator.resting(isvc, numbers):
            self._records.setdefault(key_of(isvc), TrafficRecord()).wakes += 1
            await self.activator.wake(isvc, number)
        starting = [number for number in numbers if self.activator.is_starting(isvc, number)]
        model = (isvc.get("status") or {}).get("modelStatus") or {}
        failed = model.get("transitionStatus") == "BlockedByFailedLoad"
        return [] if failed else starting

    def _may_be_answered(self, isvc: Obj) -> bool:
        """Whether a request that no pod took may be taken by one soon."""
        if _limit(isvc):
            return any(self._endpoints(isvc).values())
        model = (isvc.get("status") or {}).get("modelStatus") or {}
        return _rests(isvc) and model.get("transitionStatus") == "UpToDate"

    @contextlib.contextmanager
    def _counted(self, isvc: Obj, number: int) -> Iterator[None]:
        demand = self.demand(isvc, number)
        demand.started(self._clock.monotonic())
        try:
            yield
        finally:
            demand.finished(self._clock.monotonic())

    @contextlib.contextmanager
    def _held(self, isvc: Obj, number: int) -> Iterator[None]:
        demand = self.demand(isvc, number)
        demand.held(self._clock.monotonic())
        try:
            yield
        finally:
            demand.finished(self._clock.monotonic())

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
        url = f"http://{endpoint.address}{target}"
        if websockets.is_websocket(request):
            return await websockets.passed_through(
                request,
                session,
                url,
                revision,
                lambda status: record.add(revision, status, time.perf_counter() - started),
            )
        status = 502
        try:
            async with session.request(
                request.method,
                url,
                data=request.content if request.can_read_body else None,
                headers=proxying.request_headers(request),
                timeout=_timeout(isvc),
                allow_redirects=False,
            ) as answer:
                status = answer.status
                return await proxying.passed_on(request, answer, revision)
        except proxying.UNREACHED:
            status = 0
            raise
        except TimeoutError:
            status = 504
            seconds = _timeout(isvc).total
            return error(504, f"{revision} did not answer within {seconds:g} s", revision)
        except aiohttp.ClientError as broken:
            said = str(broken) or type(broken).__name__
            return error(502, f"{revision} broke off: {said}", revision)
        finally:
            if status:
                record.add(revision, status, time.perf_counter() - started)

    def _endpoints(
        self, isvc: Obj, entry: ComponentName | None = None
    ) -> dict[str, list[Endpoint]]:
        """The ready pods of the component asked, filed under the predictor's revision.

        Where a revision is entered is told by its Deployments: a transformer that has no pods for a
        moment must not be passed by.
        """
        deployed: dict[int, set[str]] = {}
        for deployment in self._informers.of(DEPLOYMENTS).owned_by(uid(isvc)):
            parts = deployed.setdefault(revision_of(deployment), set())
            parts.add(labels(deployment).get(names.COMPONENT, ""))
        pods: dict[int, dict[str, list[Obj]]] = {}
        for pod in self._pods.by_index("service", f"{namespace(isvc)}/{name(isvc)}"):
            of_revision = pods.setdefault(revision_of(pod), {})
            of_revision.setdefault(labels(pod).get(names.COMPONENT, ""), []).append(pod)
        found: dict[str, list[Endpoint]] = {}
        for number, components in pods.items():
            asked = components.get(entry or entry_component(deployed.get(number, ())), ())
            revision = names.deployment_name(name(isvc), "predictor", number)
            found[revision] = [endpoint for pod in asked if (endpoint := self._endpoint(pod))]
        return found

    def _endpoint(self, pod: Obj) -> Endpoint | None:
        address = (pod.get("status") or {}).get("podIP")
        if not address or deletion_requested(pod):
            return None
        if not is_pod_ready(pod) and not self.activator.has_answered(pod):
            return None
        return Endpoint(f"{address}:{serving_port(pod)}", name(pod))

    async def _client(self) -> aiohttp.ClientSession:
        """The shared session; it lives in a task, so that the loop's end closes it."""
        if self._session is None:
            self._session = asyncio.get_running_loop().create_future()
            self._lifespan = asyncio.create_task(self._live(), name="inference gateway")
        return await asyncio.shield(self._session)

    async def _live(self) -> None:
        assert self._session is not None
        async with proxying.session() as session:
            self._session.set_result(session)
            await asyncio.get_running_loop().create_future()

    def _forget(self, old: Obj | None, new: Obj | None) -> None:
        if new is None and old is not None:
            self._splitters.pop(key_of(old), None)
            self._records.pop(key_of(old), None)
            self._demands.pop(key_of(old), None)


def _service_index(pod: Obj) -> tuple[str, ...]:
    isvc = labels(pod).get(names.SERVICE)
    return (f"{namespace(pod)}/{isvc}",) if isvc else ()


def _is_explanation(isvc: Obj, target: str) -> bool:
    """Upstream sends the verb ``explain`` to the explainer, where there is one."""
    return bool(isvc["spec"].get("explainer")) and target.partition("?")[0].endswith(":explain")


def _unknown(key: Key) -> web.Response:
    return error(404, f'there is no InferenceService "{key.name}" in "{key.namespace}"')


def _rests(isvc: Obj) -> bool:
    return any(c in isvc["spec"] and policy_of(isvc, c).rests for c in COMPONENTS)


def _number(revision: str) -> int:
    return int(revision.rpartition("-")[2])


def _limit(isvc: Obj) -> int:
    """How many requests a pod takes at once; 0 is any number."""
    return int(isvc["spec"]["predictor"].get("containerConcurrency") or 0)


def _heaviest(isvc: Obj) -> list[int]:
    """The revision that gets most of the requests, if there is one."""
    weights = _weights(isvc)
    return [_number(max(weights, key=lambda revision: weights[revision]))] if weights else []


def _weights(isvc: Obj) -> dict[str, int]:
    components = (isvc.get("status") or {}).get("components") or {}
    traffic = (components.get("predictor") or {}).get("traffic") or ()
    return {entry["revisionName"]: int(entry.get("percent") or 0) for entry in traffic}


def _timeout(isvc: Obj) -> aiohttp.ClientTimeout:
    seconds = isvc["spec"]["predictor"].get("timeout") or _DEFAULT_SECONDS
    return aiohttp.ClientTimeout(total=float(seconds), sock_connect=_CONNECT_SECONDS)


def _why_not_ready(isvc: Obj) -> str:
    ready = condition(isvc, "Ready")
    said = f": {ready.message}" if ready is not None and ready.message else ""
    return f"{name(isvc)} is not ready{said}"
