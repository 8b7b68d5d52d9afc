"""The transport to any API server over HTTPS, through aiohttp."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import msgspec

from kubeling.kube.config import ClusterConfig
from kubeling.kube.errors import ApiError, error_from_status
from kubeling.kube.objects import Obj
from kubeling.kube.transport import Request, WatchEvent

__all__ = ["HttpsTransport"]

_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)
_CONNECTIONS = 16
_STREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10)


class HttpsTransport:
    """Implements :class:`~kubeling.kube.transport.Transport` for one cluster.

    Requests share a few connections, because opening one costs more than most requests; every
    watch and every log holds one of its own.
    """

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._requests: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None

    async def send(self, request: Request) -> Obj:
        try:
            async with self._open(request, self._for_requests()) as response:
                body = await response.read()
        except (aiohttp.ClientError, ssl.SSLError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error
        if response.status >= 400:
            raise _error(response.status, body)
        decoded: Obj = msgspec.json.decode(body) if body else {}
        return decoded

    async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        async for line in self._lines(request):
            event = msgspec.json.decode(line)
            if event["type"] == "ERROR":
                raise error_from_status(event["object"])
            yield WatchEvent(event["type"], event["object"])

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        try:
            async with self._open(request, self._for_streams()) as response:
                if response.status >= 400:
                    raise _error(response.status, await response.read())
                async for chunk in response.content.iter_any():
                    yield chunk
        except (aiohttp.ClientError, ssl.SSLError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def close(self) -> None:
        for session in (self._requests, self._streams):
            if session is not None:
                await session.close()
        self._requests = self._streams = None

    async def _lines(self, request: Request) -> AsyncIterator[bytes]:
        # Events outgrow aiohttp's line limit, so lines are cut here.
        pending = bytearray()
        async for chunk in self.stream(request):
            pending += chunk
            *lines, rest = pending.split(b"\n")
            pending = bytearray(rest)
            for line in lines:
                if line:
                    yield bytes(line)

    def _open(
        self, request: Request, session: aiohttp.ClientSession
    ) -> aiohttp.client._RequestContextManager:
        data = None if request.body is None else msgspec.json.encode(request.body)
        return session.request(
            request.method,
            self._config.server + request.path,
            params=request.query,
            data=data,
            headers=self._headers(request),
        )

    def _headers(self, request: Request) -> Mapping[str, str]:
        headers = {"Accept": request.accept}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        if request.acting_as:
            headers["Impersonate-User"] = request.acting_as
        if token := self._config.bearer_token():
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _for_requests(self) -> aiohttp.ClientSession:
        if self._requests is None:
            self._requests = self._session(_TIMEOUT, _CONNECTIONS)
        return self._requests

    def _for_streams(self) -> aiohttp.ClientSession:
        if self._streams is None:
            self._streams = self._session(_STREAM_TIMEOUT, 0)
        return self._streams

    def _session(self, timeout: aiohttp.ClientTimeout, limit: int) -> aiohttp.ClientSession:
        context = self._config.ssl_context()
        connector = aiohttp.TCPConnector(ssl=context if context else True, limit=limit)
        return aiohttp.ClientSession(
            connector=connector, loop=asyncio.get_running_loop(), timeout=timeout
        )

    def _unreachable(self, error: Any) -> ConnectionError:
        return ConnectionError(
            f"cannot reach {self._config.server}: {error or type(error).__name__}"
        )


def _error(code: int, body: bytes) -> ApiError:
    try:
        status = msgspec.json.decode(body)
    except msgspec.DecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = body.decode(errors="replace").strip()
        return error_from_status({"message": text or f"HTTP {code}"}, code)
    return error_from_status(status, code)
