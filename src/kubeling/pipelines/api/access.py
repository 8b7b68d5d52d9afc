"""Who may do what, when many users share the platform.

Upstream's rules: the front door names the user in a header, or a token made for the audience
``pipelines.kubeflow.org`` does; the cluster's own roles then decide, by a SubjectAccessReview on
upstream's resources and verbs. For a single user everything is allowed and nobody is asked for.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import Final

from aiohttp import web

from kubeling.component import Context
from kubeling.kube.objects import Obj
from kubeling.kube.resources import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS
from kubeling.pipelines.api.errors import PermissionDeniedError, UnauthenticatedError
from kubeling.pipelines.settings import PipelineSettings, pipeline_settings

__all__ = ["Access"]

_GROUP: Final = "pipelines.kubeflow.org"
_AUDIENCE: Final = "pipelines.kubeflow.org"
_READING: Final = ("get", "list")


class Access:
    """Judges requests."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @cached_property
    def settings(self) -> PipelineSettings:
        """Settings of this room."""
        return pipeline_settings(self._context.settings.rooms.get("pipelines", {}), os.environ)

    @property
    def multi_user(self) -> bool:
        return self.settings.multi_user

    async def require(
        self,
        request: web.Request,
        verb: str,
        resource: str,
        namespace: str,
        name: str = "",
        *,
        group: str = _GROUP,
        version: str = "v1beta1",
        subresource: str = "",
    ) -> None:
        """Returns if the request may do this; raises who or what is missing otherwise."""
        if not self.multi_user or (self.settings.shared_read and verb in _READING):
            return
        user, groups = await self._user(request)
        attributes = {
            "namespace": namespace,
            "verb": verb,
            "group": group,
            "version": version,
            "resource": resource,
            "subresource": subresource,
            "name": name,
        }
        review = await self._review(
            {"user": user, "groups": groups, "resourceAttributes": attributes}
        )
        if not (review.get("status") or {}).get("allowed"):
            raise PermissionDeniedError(
                f'User "{user}" cannot {verb} resource "{resource}" in API group "{group}" in the '
                f'namespace "{namespace}"; an owner of the profile can add them as a contributor'
            )

    async def _user(self, request: web.Request) -> tuple[str, list[str]]:
        header, prefix = self.settings.user_id_header, self.settings.user_id_prefix
        if given := request.headers.get(header, ""):
            if not given.startswith(prefix):
                raise UnauthenticatedError(f'header {header}: should begin with "{prefix}"')
            return given.removeprefix(prefix), []
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            return await self._bearer(token.strip())
        raise UnauthenticatedError(
            f"nobody said who asks: neither the header {header} nor a token for the audience "
            f"{_AUDIENCE} was sent"
        )

    async def _bearer(self, token: str) -> tuple[str, list[str]]:
        review = {
            "apiVersion": TOKEN_REVIEWS.api_version,
            "kind": TOKEN_REVIEWS.kind,
            "metadata": {},
            "spec": {"token": token, "audiences": [_AUDIENCE]},
        }
        answer = await self._context.client.create(TOKEN_REVIEWS, review)
        status = answer.get("status") or {}
        if not status.get("authenticated") or _AUDIENCE not in status.get("audiences", ()):
            reason = status.get("error") or f"it is not for the audience {_AUDIENCE}"
            raise UnauthenticatedError(f"the token was not accepted: {reason}")
        user = status.get("user") or {}
        return str(user.get("username", "")), list(user.get("groups") or [])

    async def _review(self, spec: Obj) -> Obj:
        review = {
            "apiVersion": SUBJECT_ACCESS_REVIEWS.api_version,
            "kind": SUBJECT_ACCESS_REVIEWS.kind,
            "metadata": {},
            "spec": spec,
        }
        return await self._context.client.create(SUBJECT_ACCESS_REVIEWS, review)
