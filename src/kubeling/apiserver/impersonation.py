"""Acting as someone else: the ``Impersonate-…`` headers (apiserver ``filters/impersonation``).

Each thing that is claimed, the user, every group, every extra value and the uid, is a right of its
own that the real user must hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from kubeling.apiserver.rbac import Attributes, Authorizer, forbidden
from kubeling.apiserver.user import AUTHENTICATED, UNAUTHENTICATED, User, account_groups
from kubeling.kube.errors import BadRequest

__all__ = ["impersonated"]

_AUTHENTICATION: Final = "authentication.k8s.io"
_EXTRA: Final = "impersonate-extra-"
_ACCOUNT: Final = "system:serviceaccount"


@dataclass(slots=True)
class _Claim:
    """What the headers ask for."""

    name: str = ""
    uid: str = ""
    groups: list[str] = field(default_factory=list)
    extra: dict[str, tuple[str, ...]] = field(default_factory=dict)


def impersonated(user: User, headers: Iterable[tuple[str, str]], authorizer: Authorizer) -> User:
    """The user a request acts for; ``user`` itself where no header asks for another."""
    claim = _Claim()
    for header, value in headers:
        if header[:12].lower() == "impersonate-":
            _read(claim, header.lower(), value)
    if not claim.name:
        if claim.groups or claim.uid or claim.extra:
            wanted = " ".join(str(part) for part in _wanted(claim))
            raise BadRequest(f"requested [{wanted}] without impersonating a user")
        return user
    for attributes in _wanted(claim):
        if not authorizer.allows(user, attributes):
            raise forbidden(user, attributes)
    return User(claim.name, tuple(_groups(claim)), claim.uid, claim.extra)


def _read(claim: _Claim, header: str, value: str) -> None:
    match header:
        case "impersonate-user":
            claim.name = claim.name or value
        case "impersonate-group":
            claim.groups.append(value)
        case "impersonate-uid":
            claim.uid = claim.uid or value
        case _ if header.startswith(_EXTRA):
            key = unquote(header.removeprefix(_EXTRA))
            claim.extra[key] = (*claim.extra.get(key, ()), value)


def _wanted(claim: _Claim) -> Iterator[Attributes]:
    if account := _account(claim.name):
        namespace, name = account
        yield Attributes("impersonate", "", "serviceaccounts", namespace=namespace, name=name)
    elif claim.name:
        yield Attributes("impersonate", "", "users", name=claim.name)
    for group in claim.groups:
        yield Attributes("impersonate", "", "groups", name=group)
    for key, values in claim.extra.items():
        for value in values:
            yield Attributes("impersonate", _AUTHENTICATION, "userextras", key, name=value)
    if claim.uid:
        yield Attributes("impersonate", _AUTHENTICATION, "uids", name=claim.uid)


def _groups(claim: _Claim) -> list[str]:
    """The groups, with the one that says whether somebody is known at all."""
    groups = claim.groups
    if not groups and (account := _account(claim.name)):
        groups = list(account_groups(account[0]))
    if claim.name == "system:anonymous":
        return groups if UNAUTHENTICATED in groups else [*groups, UNAUTHENTICATED]
    if {AUTHENTICATED, UNAUTHENTICATED} & set(groups):
        return groups
    return [*groups, AUTHENTICATED]


def _account(name: str) -> tuple[str, str] | None:
    prefix, _, rest = name.rpartition(":")
    kind, _, namespace = prefix.rpartition(":")
    return (namespace, rest) if kind == _ACCOUNT and namespace and rest else None
