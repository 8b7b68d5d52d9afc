"""The issuers whose tokens are accepted, and the check of a token."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kubeling.apiserver.jws import unverified_claims
from kubeling.apiserver.oidc.claims import ClaimMapper
from kubeling.apiserver.oidc.configuration import JwtAuthenticator
from kubeling.apiserver.oidc.keys import IssuerKeys
from kubeling.apiserver.settings import SettingsError
from kubeling.apiserver.tokens import TokenError
from kubeling.apiserver.user import User
from kubeling.kube.clock import Clock

__all__ = ["Issuers"]

log = logging.getLogger(__name__)

_LEEWAY: Final = dt.timedelta(minutes=1)
"""How far the issuer's clock may be ahead where a token says from when it is good (go-oidc)."""
_REMEMBERED: Final = 1024
_REMEMBERED_SECONDS: Final = 10.0


class Issuers:
    """Implements ``TokenAuthenticator`` for all issuers that are configured.

    Raises :class:`SettingsError` where a configuration cannot be right.
    """

    def __init__(
        self, entries: Sequence[JwtAuthenticator], algorithms: Sequence[str], clock: Clock
    ) -> None:
        self._clock = clock
        self._checks = {
            entry.issuer.url: _IssuerCheck(entry, algorithms, clock) for entry in entries
        }
        self._checked: dict[str, tuple[float, User]] = {}

    def knows(self, token: str) -> bool:
        return unverified_claims(token).get("iss") in self._checks

    async def user(self, token: str) -> User:
        now = self._clock.now().timestamp()
        until, user = self._checked.get(token, (0.0, None))
        if user is not None and now < until:
            return user
        issuer = unverified_claims(token)["iss"]
        try:
            expires, user = await self._checks[issuer].user(token)
        except TokenError as error:
            log.info("a token of %s is refused: %s", issuer, error)
            raise
        if len(self._checked) >= _REMEMBERED:
            self._checked.clear()
        self._checked[token] = (min(expires, now + _REMEMBERED_SECONDS), user)
        return user

    async def run(self) -> None:
        """Finds the issuers; returns when all are known."""
        async with asyncio.TaskGroup() as group:
            for check in self._checks.values():
                group.create_task(check.keys.run())

    async def ready(self) -> None:
        """Waits until the keys of every issuer are known."""
        for check in self._checks.values():
            await check.keys.ready.wait()

    async def close(self) -> None:
        """Closes connections."""
        for check in self._checks.values():
            await check.keys.close()


class _IssuerCheck:
    """One issuer's tokens."""

    def __init__(self, entry: JwtAuthenticator, algorithms: Sequence[str], clock: Clock) -> None:
        self._audiences = entry.issuer.audiences
        self._algorithms = list(algorithms)
        self._clock = clock
        try:
            self._mapper = ClaimMapper(entry)
            self.keys = IssuerKeys(entry.issuer, clock)
        except SettingsError as error:
            raise SettingsError(f"issuer {entry.issuer.url}: {error}") from None

    async def user(self, token: str) -> tuple[float, User]:
        """When the token ends and whom it names; raises :class:`TokenError`."""
        # Who comes while the server starts would otherwise be refused for that.
        await self.keys.tried.wait()
        if not self.keys.ready.is_set():
            raise TokenError("oidc: authenticator not initialized")
        claims = await self._verified(token)
        self._check_audience(claims.get("aud"))
        expires = self._check_times(claims)
        return expires, self._mapper.user(claims)

    async def _verified(self, token: str) -> dict[str, Any]:
        from jwt import get_unverified_header
        from jwt.exceptions import PyJWTError

        try:
            header = get_unverified_header(token)
        except PyJWTError as error:
            raise TokenError(f"oidc: malformed jwt: {error}") from None
        if header.get("alg") not in self._algorithms:
            expected = " ".join(f'"{name}"' for name in self._algorithms)
            raise TokenError(
                f"oidc: verify token: oidc: id token signed with unsupported algorithm, expected "
                f'[{expected}] got "{header.get("alg")}"'
            )
        payload = self._payload(token, header.get("kid"))
        if payload is None and await self.keys.again():
            payload = self._payload(token, header.get("kid"))
        if payload is None:
            raise TokenError(
                "oidc: verify token: failed to verify signature: failed to verify id token "
                "signature"
            )
        try:
            claims = msgspec.json.decode(payload)
        except msgspec.MsgspecError:
            claims = None
        if not isinstance(claims, dict):
            raise TokenError("oidc: parse claims: they are not an object")
        return claims

    def _payload(self, token: str, key_id: str | None) -> bytes | None:
        """What is signed, if one of the keys signed it."""
        from jwt import PyJWS
        from jwt.exceptions import PyJWTError

        for key in self.keys.named(key_id):
            try:
                payload: bytes = PyJWS(self._algorithms).decode(
                    token, key.key, algorithms=self._algorithms
                )
            except (PyJWTError, TypeError, ValueError):
                # The signature is not of this key, or the key is of another kind than it needs.
                continue
            return payload
        return None

    def _check_audience(self, audience: Any) -> None:
        given = [audience] if isinstance(audience, str) else audience or []
        if not any(one in self._audiences for one in given):
            expected = " ".join(f'"{name}"' for name in self._audiences)
            shown = " ".join(f'"{name}"' for name in given)
            raise TokenError(
                f"oidc: verify token: oidc: expected audience in [{expected}] got [{shown}]"
            )

    def _check_times(self, claims: dict[str, Any]) -> float:
        now = self._clock.now()
        expires, not_before = claims.get("exp"), claims.get("nbf")
        if not isinstance(expires, int | float) or expires <= now.timestamp():
            shown = _time(expires)
            raise TokenError(f"oidc: verify token: oidc: token is expired (Token Expiry: {shown})")
        if not_before is not None and (
            not isinstance(not_before, int | float) or not_before > (now + _LEEWAY).timestamp()
        ):
            raise TokenError(
                f"oidc: verify token: oidc: current time {now:%Y-%m-%d %H:%M:%S} before the nbf "
                f"(not before) time: {_time(not_before)}"
            )
        return float(expires)


def _time(seconds: Any) -> str:
    try:
        return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M:%S} +0000 UTC"
    except (TypeError, ValueError, OverflowError, OSError):
        return "none"
