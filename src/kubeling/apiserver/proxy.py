"""``services/proxy`` and ``pods/proxy``: passes HTTP on to what runs behind them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from kubeling.apiserver.backends import service_backend
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.requests import Answer, ApiRequest, ConnectionAnswer, Target
from kubeling.apiserver.served import Served
from kubeling.kube.errors import BadRequest, ServiceUnavailable
from kubeling.kube.objects import Obj
from kubeling.proxying.headers import end_to_end
from kubeling.proxying.websockets import connected, is_websocket, joined

__all__ = ["ProxyHandler"]

_SUBRESOURCE: Final = re.compile("(/+api/+v1/+namespaces/+[^/]+/+[^/]+/+[^/]+/+proxy)(.*)")
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5)
_LARGEST_MESSAGE: Final = 32 << 20


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
            address = service_backend(self._registry.store, obj, wanted.port)
        root = f"{wanted.scheme}://{address}"

        async def serve(connection: web.BaseRequest) -> web.StreamResponse:
            # The path goes on as it was written, not as it was decoded for routing.
            prefix, path = _parts(connection.rel_url.raw_path)
            query = connection.rel_url.raw_query_string
            rest = f"{path or '/'}?{query}" if query else path or "/"
            if not path and connection.method in ("GET", "HEAD"):
                # Or a browser would resolve the page's links one folder too high.
                return web.Response(status=301, headers={"Location": f"{prefix}{rest}"})
            return await self._pass_on(connection, URL(f"{root}{rest}", encoded=True), prefix)

        return ConnectionAnswer(serve)

    async def close(self) -> None:
        """Closes what is open to the pods."""
        if self._session is not None:
            await self._session.close()

    async def _pass_on(self, request: web.BaseRequest, url: URL, prefix: str) -> web.StreamResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False, timeout=_TIMEOUT)
        headers = _passed(request.headers)
        try:
            if is_websocket(request.headers):
                far = await connected(
                    self._session, request, url, headers, largest=_LARGEST_MESSAGE, ssl=False
                )
                return await joined(request, far, largest=_LARGEST_MESSAGE)
            async with self._session.request(
                request.method,
                url,
                headers=headers,
                data=request.content if request.body_exists else None,
                allow_redirects=False,
                ssl=False,
            ) as upstream:
                return await _pass_back(upstream, request, prefix)
        except aiohttp.WSServerHandshakeError as error:
            text = f"{url} answered {error.status} instead of a websocket"
            raise ServiceUnavailable(text) from None
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            raise ServiceUnavailable(f"error trying to reach {url}: {error}") from None


async def _pass_back(
    upstream: aiohttp.ClientResponse, request: web.BaseRequest, prefix: str
) -> web.StreamResponse:
    headers = _passed(upstream.headers)
    if location := headers.get("Location"):
        headers["Location"] = _seen_from_outside(URL(location), upstream.url, prefix)
    response = web.StreamResponse(status=upstream.status, headers=headers)
    await response.prepare(request)
    async for chunk in upstream.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


def _seen_from_outside(location: URL, asked: URL, prefix: str) -> str:
    """Where a redirect leads for a client that sees the server under ``prefix``."""
    whole = asked.join(location)
    if whole.origin() != asked.origin():
        return str(location)
    return f"{prefix}{whole.raw_path_qs}"


def _parts(path: str) -> tuple[str, str]:
    """A path up to the subresource, and what follows."""
    found = _SUBRESOURCE.match(path)
    assert found is not None, path
    return found[1], found[2]


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


def _port(declared: list[Obj], wanted: str, field: str) -> Any:
    if wanted.isdigit():
        return wanted
    for port in declared:
        if not wanted or port.get("name") == wanted:
            return port.get(field)
    if wanted:
        raise BadRequest(f'the pod declares no port named "{wanted}"')
    return None


def _passed(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return end_to_end(headers, "authorization", "content-length", "host")
