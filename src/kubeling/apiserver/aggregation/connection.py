"""HTTPS to extension API servers, in the name of this one.

They trust who a request is from because it comes with the front proxy's client certificate, which
no user has; its authority is one of its own, or any user's certificate would do. Upstream's
``--proxy-client-cert-file`` and ``--requestheader-client-ca-file``.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from kubeling.apiserver.backends import service_address
from kubeling.apiserver.outgoing import failure_words, trusting
from kubeling.apiserver.storage import Store
from kubeling.apiserver.tls import Identity
from kubeling.apiserver.user import User
from kubeling.kube.errors import ServiceUnavailable
from kubeling.kube.objects import Obj

__all__ = ["Backend", "Connections", "user_headers"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5)


@dataclass(frozen=True, slots=True)
class Backend:
    """Where an APIService leads, and how its certificate is checked."""

    namespace: str
    name: str
    port: int
    ca_bundle: bytes = b""
    insecure: bool = False

    @classmethod
    def of(cls, api_service: Obj) -> Backend:
        """The backend of an APIService that has one."""
        spec = api_service["spec"]
        service = spec["service"]
        return cls(
            service["namespace"],
            service["name"],
            int(service.get("port") or 443),
            base64.b64decode(spec.get("caBundle") or ""),
            bool(spec.get("insecureSkipTLSVerify")),
        )

    @property
    def host(self) -> str:
        """The name its certificate is for."""
        return f"{self.name}.{self.namespace}.svc"


class Connections:
    """Sends requests to backends; close it in the end. Nothing is opened before it is needed."""

    def __init__(self, store: Store, identity: Callable[[], Identity]) -> None:
        self._store = store
        self._identity = identity
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[tuple[bytes, bool], ssl.SSLContext] = {}

    def address(self, backend: Backend) -> str:
        """``host:port`` of one endpoint; raises :class:`ServiceUnavailable`."""
        return service_address(self._store, backend.namespace, backend.name, str(backend.port))

    async def request(
        self, backend: Backend, method: str, path: str, headers: CIMultiDict[str], body: bytes
    ) -> aiohttp.ClientResponse:
        """Sends a request, the headers telling who it is from; the caller closes the response.

        Raises :class:`ServiceUnavailable` where nobody can be reached.
        """
        address = self.address(backend)
        url = URL(f"https://{address}{path}", encoded=True)
        context = await self.context(backend)
        try:
            return await self.session().request(
                method,
                url,
                headers=headers,
                data=body or None,
                ssl=context,
                server_hostname=backend.host,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ServiceUnavailable(
                f"error trying to reach service: {failure_words(error)}"
            ) from None

    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, timeout=_TIMEOUT
            )
        return self._session

    async def context(self, backend: Backend) -> ssl.SSLContext:
        """TLS towards the backend, with the front proxy's certificate."""
        key = (backend.ca_bundle, backend.insecure)
        if key not in self._contexts:
            self._contexts[key] = await asyncio.to_thread(_context, backend, self._identity())
        return self._contexts[key]

    async def close(self) -> None:
        """Closes what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def user_headers(user: User) -> Iterator[tuple[str, str]]:
    """How a backend is told who asks."""
    yield "X-Remote-User", user.name
    if user.uid:
        yield "X-Remote-Uid", user.uid
    for group in user.groups:
        yield "X-Remote-Group", group
    for key, values in user.extra.items():
        name = "".join(c if c.isalnum() or c in "-_." else f"%{ord(c):02X}" for c in key)
        yield from ((f"X-Remote-Extra-{name}", value) for value in values)


def _context(backend: Backend, identity: Identity) -> ssl.SSLContext:
    if backend.insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = trusting(backend.ca_bundle)
    context.load_cert_chain(identity.certificate, identity.key)
    return context
