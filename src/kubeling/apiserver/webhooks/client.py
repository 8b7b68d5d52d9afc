"""The HTTPS client that all webhooks are called with.

A Service is called at a pod behind it, under the Service's name, so certificates are checked as on
a cluster. Connections stay open between calls, and there is no bound on how many are under way,
so that a slow webhook holds up only those who ask it.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from kubeling.apiserver.backends import service_address
from kubeling.apiserver.outgoing import failure_words, trusting
from kubeling.apiserver.storage import Store
from kubeling.apiserver.webhooks.configuration import ClientConfig
from kubeling.kube.errors import ServiceUnavailable
from kubeling.kube.objects import Obj

__all__ = ["WebhookCallError", "WebhookClient"]

_ANSWER_LIMIT: Final = 16 * 1024 * 1024
_CONTEXTS: Final = 256
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


class WebhookCallError(Exception):
    """A webhook could not be asked, or did not answer as one."""


class WebhookClient:
    """Calls webhooks; close it in the end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[bytes, ssl.SSLContext] = {}

    async def post(self, config: ClientConfig, review: Obj, timeout: float) -> Any:
        """The decoded answer to a review; raises :class:`WebhookCallError`."""
        shown = f"{_shown(config)}?timeout={timeout:g}s"
        try:
            async with asyncio.timeout(timeout):
                return await self._post(config, review, timeout)
        except TimeoutError:
            raise WebhookCallError(f'Post "{shown}": context deadline exceeded') from None
        except ServiceUnavailable as error:
            raise WebhookCallError(f'Post "{shown}": {error.message}') from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise WebhookCallError(f'Post "{shown}": {failure_words(error)}') from None

    async def close(self) -> None:
        """Closes what is open to the webhooks."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, config: ClientConfig, review: Obj, timeout: float) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json, */*"}
        server_hostname = None
        url = URL(config.url)
        if config.service is not None:
            service = config.service
            address = service_address(
                self._store, service.namespace, service.name, str(service.port)
            )
            url = URL(f"https://{address}") / service.path.lstrip("/")
            server_hostname = service.host
            headers["Host"] = f"{service.host}:{service.port}"
        async with self._opened().post(
            url.with_query(timeout=f"{timeout:g}s"),
            data=_encode(review),
            headers=headers,
            ssl=await self._context(config.ca_bundle),
            server_hostname=server_hostname,
            allow_redirects=False,
        ) as response:
            return _answer(response.status, await _read(response))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            timeout = aiohttp.ClientTimeout(total=None)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self._session

    async def _context(self, ca_bundle: bytes) -> ssl.SSLContext:
        context = self._contexts.get(ca_bundle)
        if context is None:
            context = await asyncio.to_thread(trusting, ca_bundle)
            while len(self._contexts) >= _CONTEXTS:
                self._contexts.pop(next(iter(self._contexts)))
            # Whoever was first stays, so that connections are shared.
            context = self._contexts.setdefault(ca_bundle, context)
        return context


async def _read(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > _ANSWER_LIMIT:
            raise WebhookCallError(f"the answer is larger than {_ANSWER_LIMIT} bytes")
    return bytes(content)


def _answer(status: int, content: bytes) -> Any:
    if 200 <= status < 300:
        try:
            return _decode(content)
        except msgspec.DecodeError as error:
            raise WebhookCallError(f"couldn't decode the answer: {error}") from None
    text = content.decode(errors="replace").strip()
    if status == 404:
        raise WebhookCallError("the server could not find the requested resource")
    if status == 401:
        raise WebhookCallError("the server has asked for the client to provide credentials")
    if status >= 500:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"') or "unknown"
        raise WebhookCallError(
            f'an error on the server ("{quoted}") has prevented the request from succeeding'
        )
    raise WebhookCallError(f"the server answered with status {status}: {text}")


def _shown(config: ClientConfig) -> str:
    if config.service is None:
        return config.url
    path = config.service.path.lstrip("/")
    return f"https://{config.service.host}:{config.service.port}/{path}"
