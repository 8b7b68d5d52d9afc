"""Authentication: who sends a request, by client certificate or bearer token."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kubeling.apiserver.rbac import Attributes, Authorizer
from kubeling.apiserver.tokens import TokenError, Tokens
from kubeling.apiserver.user import User
from kubeling.kube.errors import Forbidden, Unauthorized

__all__ = ["Authenticator", "impersonated", "load_tokens"]

_AUTHENTICATED = "system:authenticated"


class Authenticator:
    """Finds the user of a request; one without credentials is refused."""

    def __init__(self, tokens: Tokens, static: Mapping[str, User] | None = None) -> None:
        self._tokens = tokens
        self._static = dict(static or {})

    def user(self, certificate: Mapping[str, Any] | None, authorization: str) -> User:
        """The user; raises :class:`Unauthorized`.

        ``certificate`` is what TLS verified, as the ssl module describes it.
        """
        if certificate and (subject := _subject(certificate)):
            return subject
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return self.by_token(token.strip())
        raise Unauthorized("Unauthorized")

    def by_token(self, token: str) -> User:
        """Whom a bearer token stands for; raises :class:`Unauthorized`."""
        if token in self._static:
            return self._static[token]
        try:
            user, _ = self._tokens.check(token)
        except TokenError:
            raise Unauthorized("Unauthorized") from None
        return user


def load_tokens(path: Path) -> dict[str, User]:
    """Static tokens from a file of ``token,user,uid,"group1,group2"`` lines."""
    found = {}
    with path.open(newline="") as file:
        for row in csv.reader(file):
            if len(row) < 3:
                continue
            groups = row[3].split(",") if len(row) > 3 and row[3] else []
            found[row[0]] = User(row[1], (*groups, _AUTHENTICATED), row[2])
    return found


def impersonated(user: User, headers: Iterable[tuple[str, str]], authorizer: Authorizer) -> User:
    """The user a request acts for, by its ``Impersonate-…`` headers."""
    name, uid, groups, extra = "", "", list[str](), dict[str, tuple[str, ...]]()
    for header, value in headers:
        match header.lower():
            case "impersonate-user":
                name = value
            case "impersonate-group":
                groups.append(value)
            case "impersonate-uid":
                uid = value
            case other if other.startswith("impersonate-extra-"):
                key = other.removeprefix("impersonate-extra-")
                extra[key] = (*extra.get(key, ()), value)
            case _:
                continue
    if not name:
        if groups or uid or extra:
            raise Forbidden("impersonating groups, uid or extra needs a user as well")
        return user
    _check(user, name, groups, authorizer)
    if name.startswith("system:serviceaccount:") and not groups:
        namespace = name.split(":")[2]
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    if _AUTHENTICATED not in groups and name != "system:anonymous":
        groups.append(_AUTHENTICATED)
    return User(name, tuple(groups), uid, extra)


def _check(user: User, name: str, groups: Iterable[str], authorizer: Authorizer) -> None:
    if name.startswith("system:serviceaccount:") and name.count(":") == 3:
        _, _, namespace, account = name.split(":")
        wanted = [
            Attributes("impersonate", "", "serviceaccounts", namespace=namespace, name=account)
        ]
    else:
        wanted = [Attributes("impersonate", "", "users", name=name)]
    wanted += [Attributes("impersonate", "", "groups", name=group) for group in groups]
    for attributes in wanted:
        if not authorizer.allows(user, attributes):
            raise Forbidden.of(
                "", attributes.resource, attributes.name, f'User "{user.name}" cannot {attributes}'
            )


def _subject(certificate: Mapping[str, Any]) -> User | None:
    """The user that a certificate's subject names: CN the user, O the groups."""
    name, groups = "", []
    for relative in certificate.get("subject", ()):
        for key, value in relative:
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    return User(name, (*groups, _AUTHENTICATED)) if name else None
