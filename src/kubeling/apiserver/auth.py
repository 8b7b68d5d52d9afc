"""Authentication: who sends a request, by client certificate or bearer token.

A request without credentials is made by ``system:anonymous``, whom roles allow next to nothing;
one with credentials that prove nothing is refused. Of the ways a token can be good, those that
need no key come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from kubeling.apiserver.tokens import ISSUER, TokenError, Tokens
from kubeling.apiserver.user import ANONYMOUS, AUTHENTICATED, User
from kubeling.kube.errors import Unauthorized

__all__ = ["Anonymous", "Authenticator", "Identified", "TokenAuthenticator"]


class Identified(NamedTuple):
    """Whom a token stands for, and which of the audiences asked for it is meant for."""

    user: User
    audiences: list[str]


class TokenAuthenticator(Protocol):
    """Knows the tokens of some issuers."""

    def knows(self, token: str) -> bool:
        """Whether a token claims to be from one of its issuers; proves nothing."""
        ...

    async def user(self, token: str) -> User:
        """Whom a token stands for; raises :class:`TokenError`."""
        ...


class Anonymous(NamedTuple):
    """Whether requests need no credentials; with ``paths``, only those for one of these."""

    enabled: bool = True
    paths: frozenset[str] = frozenset()


class Authenticator:
    """Finds the user of a request."""

    def __init__(
        self,
        tokens: Tokens,
        static: Mapping[str, User] | None = None,
        issuers: TokenAuthenticator | None = None,
        anonymous: Anonymous | None = None,
    ) -> None:
        self._tokens = tokens
        self._static = dict(static or {})
        self._issuers = issuers
        self._anonymous = anonymous or Anonymous()

    async def user(
        self, certificate: Mapping[str, Any] | None, authorization: str, path: str = ""
    ) -> User:
        """The user; raises :class:`Unauthorized`.

        ``certificate`` is what TLS verified, as the ssl module describes it.
        """
        if certificate and (subject := _subject(certificate)):
            return subject
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            try:
                return (await self.identify(token.strip())).user
            except TokenError:
                raise Unauthorized("Unauthorized") from None
        enabled, paths = self._anonymous
        if authorization or not enabled or (paths and path not in paths):
            raise Unauthorized("Unauthorized")
        return ANONYMOUS

    async def identify(self, token: str, audiences: Sequence[str] = ()) -> Identified:
        """Whom a bearer token stands for; raises :class:`TokenError`.

        Without ``audiences`` it has to be meant for this server.
        """
        audiences = audiences or (ISSUER,)
        if token in self._static:
            return Identified(self._static[token], _ours(audiences))
        if self._issuers is not None and self._issuers.knows(token):
            return Identified(await self._issuers.user(token), _ours(audiences))
        return Identified(*self._tokens.check(token, audiences))


def _ours(audiences: Sequence[str]) -> list[str]:
    """Tokens that name no audience of ours are meant for this server alone."""
    if ISSUER not in audiences:
        raise TokenError("the token is meant for another audience")
    return [ISSUER]


def _subject(certificate: Mapping[str, Any]) -> User | None:
    """The user that a certificate's subject names: CN the user, O the groups."""
    name, groups = "", []
    for relative in certificate.get("subject", ()):
        for key, value in relative:
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    return User(name, (*groups, AUTHENTICATED)) if name else None
