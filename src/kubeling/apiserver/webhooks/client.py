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

from kubeling.apiserver.backends import service_backend
from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.storage import Store
from kubeling.apiserver.webhooks.configuration import ClientConfig, ServiceReference
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
            raise WebhookCallError(f'Post "{shown}": {_reason(error)}') from None

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
            url = URL(f"https://{self._backend(config.service)}") / config.service.path.lstrip("/")
            server_hostname = config.service.host
            headers["Host"] = f"{config.service.host}:{config.service.port}"
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

    def _backend(self, service: ServiceReference) -> str:
        record = self._store.get(StoreKey("/services", service.namespace, service.name))
        if record is None:
            raise ServiceUnavailable(f'service "{service.name}" not found')
        spec = record.obj.get("spec") or {}
        if spec.get("type") == "ExternalName":
            return f"{spec.get('externalName', '')}:{service.port}"
        return service_backend(self._store, record.obj, str(service.port))

    async def _context(self, ca_bundle: bytes) -> ssl.SSLContext:
        context = self._contexts.get(ca_bundle)
        if context is None:
            context = await asyncio.to_thread(_trusting, ca_bundle)
            while len(self._contexts) >= _CONTEXTS:
                self._contexts.pop(next(iter(self._contexts)))
            # Whoever was first stays, so that connections are shared.
            context = self._contexts.setdefault(ca_bundle, context)
        return context


def _trusting(ca_bundle: bytes) -> ssl.SSLContext:
    """Trusts the bundle as Go does: any certificate in it will do, also a server's own."""
    if not ca_bundle:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca_bundle.decode("ascii"))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
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


def _reason(error: Exception) -> str:
    """What went wrong, in the words of Go's network library where there are some."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        return f"tls: failed to verify certificate: x509: {getattr(cause, 'verify_message', cause)}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {error.host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorError):
        why = "connection refused" if error.errno == 111 else error.strerror or str(error)
        return f"dial tcp {error.host}:{error.port}: connect: {why}"
    return str(error) or type(error).__name__
