"""A group version that an APIService gives to the Service behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from kubeling.apiserver.aggregation.connection import (
    Backend,
    Connections,
    user_headers,
)
from kubeling.apiserver.requests import (
    Answer,
    ApiRequest,
    BytesAnswer,
    ConnectionAnswer,
    Target,
)
from kubeling.kube.errors import ServiceUnavailable
from kubeling.kube.objects import Obj
from kubeling.proxying.headers import end_to_end
from kubeling.proxying.websockets import connected, is_websocket, joined

__all__ = ["ServiceDelegate"]

_WHO: Final = ("x-remote-", "impersonate-")
_LARGEST_MESSAGE: Final = 32 << 20
_UNAVAILABLE: Final = "the server is currently unable to handle the request"


class ServiceDelegate:
    """Hands requests on, with the user in headers. It answers only while found available."""

    def __init__(self, backend: Backend, connections: Connections) -> None:
        self.backend = backend
        self.available = False
        self.resources: Sequence[Obj] = ()
        self._connections = connections

    @property
    def stale(self) -> bool:
        return not self.available

    async def handle(self, target: Target, request: ApiRequest) -> Answer:
        async def serve(connection: web.BaseRequest) -> web.StreamResponse:
            try:
                return await self._pass_on(request, connection)
            except ServiceUnavailable as error:
                # Plain text, as upstream's: clients have words of their own for this.
                return web.Response(status=503, text=f"{error.message}\n")

        async def fetch() -> BytesAnswer:
            try:
                async with await self._send(request) as response:
                    kind = response.headers.get("Content-Type", "")
                    return BytesAnswer(await response.read(), kind, response.status)
            except ServiceUnavailable:
                raise ServiceUnavailable(_UNAVAILABLE) from None

        return ConnectionAnswer(serve, fetch)

    async def _pass_on(
        self, request: ApiRequest, connection: web.BaseRequest
    ) -> web.StreamResponse:
        if is_websocket(connection.headers):
            return await self._pass_socket_on(request, connection)
        async with await self._send(request) as upstream:
            response = web.StreamResponse(status=upstream.status, headers=_passed(upstream.headers))
            await response.prepare(connection)
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def _pass_socket_on(
        self, request: ApiRequest, connection: web.BaseRequest
    ) -> web.StreamResponse:
        self._require_available()
        address = self._connections.address(self.backend)
        try:
            far = await connected(
                self._connections.session(),
                connection,
                URL(f"https://{address}{_path(request)}", encoded=True),
                _headers(request),
                largest=_LARGEST_MESSAGE,
                ssl=await self._connections.context(self.backend),
                server_hostname=self.backend.host,
            )
            return await joined(connection, far, largest=_LARGEST_MESSAGE)
        except (aiohttp.ClientError, OSError) as error:
            raise ServiceUnavailable(f"error trying to reach service: {error}") from None

    async def _send(self, request: ApiRequest) -> aiohttp.ClientResponse:
        self._require_available()
        body, headers = request.text, _headers(request)
        if request.value is not None:
            body = msgspec.json.encode(request.value)
        headers.setdefault("Content-Type", request.content_type or "application/json")
        if request.accept:
            headers.setdefault("Accept", request.accept)
        return await self._connections.request(
            self.backend, request.method, _path(request), headers, body
        )

    def _require_available(self) -> None:
        if not self.available:
            raise ServiceUnavailable("service unavailable")


def _headers(request: ApiRequest) -> CIMultiDict[str]:
    headers = _passed(request.headers)
    for name, value in user_headers(request.user):
        headers.add(name, value)
    return headers


def _passed(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Headers without those of the connection, and without any that say who asks."""
    kept = end_to_end(headers, "authorization", "content-length", "expect", "host")
    for name in {name for name in kept if name.lower().startswith(_WHO)}:
        kept.popall(name)
    return kept


def _path(request: ApiRequest) -> str:
    pairs = [(key, value) for key in request.query for value in request.query.all(key)]
    path = quote(request.path, safe="/:@!$&'()*+,;=~")
    return f"{path}?{urlencode(pairs)}" if pairs else path
