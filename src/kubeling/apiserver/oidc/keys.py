"""An issuer's public keys: where they are, and the new ones when they have been changed.

Upstream: ``coreos/go-oidc``. The issuer is asked in the background from the start on, because it
may run on this very platform; keys are fetched again when a token names one that is not known.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import ssl
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kubeling.apiserver.oidc.configuration import Issuer
from kubeling.apiserver.settings import SettingsError
from kubeling.kube.clock import Clock

if TYPE_CHECKING:
    import aiohttp
    from jwt import PyJWK

__all__ = ["IssuerKeys"]

log = logging.getLogger(__name__)

_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_RETRY_SECONDS: Final = 10.0
_TIMEOUT_SECONDS: Final = 30.0
_ASK_AGAIN_SECONDS: Final = 5.0
"""How long tokens with unknown keys wait for the next question, lest they be used to ask."""
_LIMIT: Final = 1024 * 1024


class IssuerKeys:
    """The keys of one issuer. Raises :class:`SettingsError` for a CA that is none."""

    def __init__(self, issuer: Issuer, clock: Clock) -> None:
        self._issuer = issuer
        self._clock = clock
        self._context = _context(issuer.certificate_authority)
        self._session: aiohttp.ClientSession | None = None
        self._address = ""
        self._keys: list[PyJWK] = []
        self._asked: float | None = None
        self._asking = asyncio.Lock()
        self.tried = asyncio.Event()
        """Set once the issuer was asked, whether it answered or not."""
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Finds the issuer; returns when its keys are known."""
        # It takes a while, and nobody waits for it here.
        await asyncio.to_thread(importlib.import_module, "jwt")
        said = ""
        while not self.ready.is_set():
            try:
                await self._fetch()
            except _Unusable as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("tokens of %s cannot be checked yet: %s", self._issuer.url, said)
                self.tried.set()
                await self._clock.sleep(_RETRY_SECONDS)

    async def close(self) -> None:
        """Closes connections."""
        if self._session is not None:
            await self._session.close()

    def named(self, key_id: str | None) -> list[PyJWK]:
        """The keys that a token may be signed with."""
        if not key_id:
            return self._keys
        return [key for key in self._keys if key.key_id == key_id]

    async def again(self) -> bool:
        """Asks for the keys anew, unless that was done just now; whether it was done."""
        asked = self._asked
        async with self._asking:
            if self._asked != asked:
                return True
            if asked is not None and self._clock.monotonic() - asked < _ASK_AGAIN_SECONDS:
                return False
            self._asked = self._clock.monotonic()
            try:
                self._keys = await self._key_set()
            except _Unusable as error:
                log.warning("the keys of %s cannot be read: %s", self._issuer.url, error)
                return False
            return True

    async def _fetch(self) -> None:
        url = self._issuer.discovery_url or self._issuer.url.rstrip("/") + _WELL_KNOWN
        found = await self._json(url)
        if found.get("issuer") != self._issuer.url:
            raise _Unusable(
                f"issuer did not match the issuer returned by provider, expected "
                f'"{self._issuer.url}" got "{found.get("issuer")}"'
            )
        address = found.get("jwks_uri")
        if not isinstance(address, str) or not address:
            raise _Unusable(f"{url} names no jwks_uri")
        self._address = address
        self._keys = await self._key_set()
        self.ready.set()
        self.tried.set()

    async def _key_set(self) -> list[PyJWK]:
        from jwt import PyJWK
        from jwt.exceptions import PyJWTError

        listed = (await self._json(self._address)).get("keys")
        keys = []
        for entry in listed if isinstance(listed, list) else ():
            if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
                continue
            try:
                keys.append(PyJWK.from_dict(entry))
            except PyJWTError:
                # A set may hold keys of kinds that nobody here has a use for.
                continue
        if not keys:
            raise _Unusable(f"{self._address} lists no keys for signatures")
        return keys

    async def _json(self, url: str) -> dict[str, Any]:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._context or True),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS),
                trust_env=True,
            )
        try:
            async with self._session.get(url) as response:
                if response.status != 200:
                    raise _Unusable(f"{url} answers {response.status}")
                content = msgspec.json.decode(await response.content.read(_LIMIT))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _Unusable(f"{url}: {error or 'no answer'}") from None
        except msgspec.MsgspecError:
            raise _Unusable(f"{url} does not answer with JSON") from None
        if not isinstance(content, dict):
            raise _Unusable(f"{url} does not answer with an object")
        return content


class _Unusable(Exception):
    """The issuer's answer, or that there is none."""


def _context(authority: str) -> ssl.SSLContext | None:
    if not authority:
        return None
    try:
        return ssl.create_default_context(cadata=authority)
    except (ssl.SSLError, ValueError):
        raise SettingsError(
            "issuer.certificateAuthority: data does not contain any valid RSA or ECDSA certificates"
        ) from None
