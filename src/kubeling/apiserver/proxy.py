"""``services/proxy`` and ``pods/proxy``: passes HTTP on to what runs behind them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.requests import Answer, ApiRequest, ConnectionAnswer, Target
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Store
from kubeling.kube.errors import BadRequest, ServiceUnavailable
from kubeling.kube.objects import Obj, labels

__all__ = ["ProxyHandler"]

_HOP_BY_HOP: Final = frozenset(
    {
        "authorization", "connection", "content-length", "host", "keep-alive", "te", "trailer",
        "proxy-authenticate", "proxy-authorization", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5)


class _Name(NamedTuple):
    """``scheme:name:port``, of which only the name must be given."""

    scheme: str
    name: str
    port: str


class ProxyHandler:
    """Serves the proxy subresources."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._session: aiohttp.ClientSession | None = None

    async def handle(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        wanted = _parse(target.name)
        obj = self._registry.get(served, target.namespace, wanted.name)
        if served.storage == "/pods":
            address = _pod_address(obj, wanted)
        else:
            address = _service_address(self._registry.store, obj, wanted)
        root = f"{wanted.scheme}://{address}"

        async def serve(connection: web.BaseRequest) -> web.StreamResponse:
            # The path goes on as it was written, not as it was decoded for routing.
            path = connection.rel_url.raw_path.partition("/proxy")[2] or "/"
            query = connection.rel_url.raw_query_string
            text = f"{root}{path}?{query}" if query else f"{root}{path}"
            return await self._pass_on(connection, URL(text, encoded=True))

        return ConnectionAnswer(serve)

    async def close(self) -> None:
        """Closes what is open to the pods."""
        if self._session is not None:
            await self._session.close()

    async def _pass_on(self, request: web.BaseRequest, url: URL) -> web.StreamResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False, timeout=_TIMEOUT)
        try:
            async with self._session.request(
                request.method,
                url,
                headers=_passed(request.headers.items()),
                data=request.content if request.body_exists else None,
                allow_redirects=False,
                ssl=False,
            ) as upstream:
                response = web.StreamResponse(
                    status=upstream.status, headers=_passed(upstream.headers.items())
                )
                await response.prepare(request)
                async for chunk in upstream.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
                return response
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            raise ServiceUnavailable(f"error trying to reach {url}: {error}") from None


def _parse(text: str) -> _Name:
    parts = text.split(":")
    match parts:
        case [name]:
            return _Name("http", name, "")
        case [name, port]:
            return _Name("http", name, port)
        case [scheme, name, port] if scheme in ("", "http", "https"):
            return _Name(scheme or "http", name, port)
        case _:
            raise BadRequest(f'invalid proxy target "{text}": write [https:]name[:port]')


def _pod_address(pod: Obj, wanted: _Name) -> str:
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise ServiceUnavailable(f'pod "{wanted.name}" has no address yet')
    declared = [
        port
        for container in (pod.get("spec") or {}).get("containers") or ()
        for port in container.get("ports") or ()
    ]
    return f"{address}:{_port(declared, wanted.port, 'containerPort') or 80}"


def _service_address(store: Store, service: Obj, wanted: _Name) -> str:
    metadata, spec = service["metadata"], service.get("spec") or {}
    ports: list[Obj] = spec.get("ports") or []
    chosen = _chosen(ports, wanted.port)
    if chosen is None:
        raise ServiceUnavailable(f'no service port "{wanted.port}" in service "{wanted.name}"')
    found = [
        *_slices(store, metadata["namespace"], metadata["name"], chosen),
        *_endpoints(store, metadata["namespace"], metadata["name"], chosen),
    ]
    if not found:
        raise ServiceUnavailable(f'no endpoints available for service "{wanted.name}"')
    return random.choice(found)


def _chosen(ports: list[Obj], wanted: str) -> Obj | None:
    if not wanted:
        return ports[0] if ports else None
    for port in ports:
        if wanted in (port.get("name"), str(port.get("port"))):
            return port
    return None


def _slices(store: Store, namespace: str, name: str, port: Obj) -> Iterator[str]:
    for record in store.list("discovery.k8s.io/endpointslices", namespace):
        if labels(record.obj).get("kubernetes.io/service-name") != name:
            continue
        number = _number(record.obj.get("ports") or (), port)
        for endpoint in record.obj.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready", True) and number:
                yield from (f"{address}:{number}" for address in endpoint.get("addresses") or ())


def _endpoints(store: Store, namespace: str, name: str, port: Obj) -> Iterator[str]:
    record = store.get(StoreKey("/endpoints", namespace, name))
    for subset in (record.obj.get("subsets") or ()) if record else ():
        number = _number(subset.get("ports") or (), port)
        if number:
            yield from (f"{entry['ip']}:{number}" for entry in subset.get("addresses") or ())


def _number(ports: Iterable[Obj], wanted: Obj) -> int | None:
    """The endpoints' port that stands for a service's: of the same name, or the only one."""
    listed = list(ports)
    for port in listed:
        if port.get("name", "") == wanted.get("name", ""):
            return int(port["port"])
    return int(listed[0]["port"]) if len(listed) == 1 else None


def _port(declared: list[Obj], wanted: str, field: str) -> Any:
    if wanted.isdigit():
        return wanted
    for port in declared:
        if not wanted or port.get("name") == wanted:
            return port.get(field)
    if wanted:
        raise BadRequest(f'the pod declares no port named "{wanted}"')
    return None


def _passed(headers: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    return CIMultiDict((k, v) for k, v in headers if k.lower() not in _HOP_BY_HOP)
