"""Who calls, and what they may do.

Upstream's server runs in the auth modes ``client`` and ``server``: a bearer token (also in the
cookie ``authorization``) is the caller's, and the caller's own rights decide; without one the
server's do, because whoever reaches the gateway is its single user. Both ends are asked in the
Kubernetes API: a TokenReview says who somebody is, a SubjectAccessReview what they may.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.kube.resources import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS, Resource
from kubeling.workflows.api.errors import PermissionDenied, Unauthenticated

__all__ = ["Access", "Caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a token; ``user`` is what the TokenReview says of them."""

    user: Obj

    @property
    def name(self) -> str:
        return str(self.user.get("username") or "")


class Access:
    """Answers for requests who makes them, and whether they may."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def caller(self, request: web.Request) -> Caller | None:
        """Whose token the request carries; ``None`` without one."""
        return await self._review(_token(request))

    async def check(
        self, request: web.Request, verb: str, resource: Resource, namespace: str, name: str = ""
    ) -> None:
        """Raises :class:`PermissionDenied` unless the caller may."""
        caller = await self.caller(request)
        if caller is None:
            return
        attributes: dict[str, Any] = {
            "verb": verb,
            "group": resource.group,
            "version": resource.version,
            "resource": resource.plural,
            "namespace": namespace,
            "name": name,
        }
        spec = {
            "resourceAttributes": attributes,
            "user": caller.name,
            "uid": caller.user.get("uid", ""),
            "groups": caller.user.get("groups") or [],
            "extra": caller.user.get("extra") or {},
        }
        review = await self._client.create(
            SUBJECT_ACCESS_REVIEWS, _object("SubjectAccessReview", spec)
        )
        if not (review.get("status") or {}).get("allowed"):
            where = f' in the namespace "{namespace}"' if namespace else ""
            one = f' "{name}"' if name else ""
            raise PermissionDenied(
                f'{resource.qualified}{one} is forbidden: User "{caller.name}" cannot {verb} '
                f'resource "{resource.plural}" in API group "{resource.group}"{where}'
            )

    async def _review(self, token: str) -> Caller | None:
        if not token:
            return None
        review = await self._client.create(TOKEN_REVIEWS, _object("TokenReview", {"token": token}))
        status = review.get("status") or {}
        if not status.get("authenticated"):
            raise Unauthenticated(
                "token not valid. see https://argo-workflows.readthedocs.io/en/latest/faq/"
            )
        return Caller(status.get("user") or {})


def _token(request: web.Request) -> str:
    text = request.headers.get("Authorization") or request.cookies.get("authorization", "")
    if not text.strip():
        return ""
    scheme, _, token = text.strip().partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("only bearer tokens are accepted: Authorization: Bearer TOKEN")
    return token.strip()


def _object(kind: str, spec: Obj) -> Obj:
    group = "authentication" if kind == "TokenReview" else "authorization"
    return {"apiVersion": f"{group}.k8s.io/v1", "kind": kind, "metadata": {}, "spec": spec}
