"""Who may ask a model, where an installation has its requests checked (``serving.authentication``).

As in front of Kubeflow's ingress gateway: without a token a request is refused with 403, with one
that nobody issued with 401, and the token of another namespace, which may not read the service,
with 403. The cluster's own roles decide: whoever may ``get`` the InferenceService (or the
LLMInferenceService, or the InferenceGraph) may ask it, so the accounts of a profile may, and those
of other profiles may not. A judgement is kept for a short while, so that it is not asked for with
every request.
"""

from __future__ import annotations

import hashlib
import time
from typing import Final

from kubeling.component import Context
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Key, Obj
from kubeling.kube.resources import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS, Resource
from kubeling.serving.gateway.refusals import Undelivered
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.settings import ServingSettings

__all__ = ["Access"]

_SECONDS: Final = 10.0
_REMEMBERED: Final = 10_000

_Judgement = tuple[int, str]
"""A status, 200 if the request may go on, and why not."""
_UNKNOWN: Final[tuple[float, _Judgement]] = (0.0, (0, ""))


class Access:
    """Judges requests by their tokens."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.on = ServingSettings.of(context.settings).authentication
        self._known: dict[tuple[bytes, str, Key], tuple[float, _Judgement]] = {}

    async def require(self, key: Key, authorization: str | None) -> None:
        """Returns if a service may be asked; raises :class:`Undelivered` if not."""
        if self.on and (refusal := await self.refusal(key, authorization, INFERENCE_SERVICES)):
            raise Undelivered(*refusal)

    def permits(self, key: Key, authorization: str) -> bool:
        """Whether it is known already that a service may be asked."""
        token = _token(authorization)
        asked = (_digest(token), INFERENCE_SERVICES.plural, key)
        until, (status, _) = self._known.get(asked, _UNKNOWN)
        return status == 200 and until >= time.monotonic()

    async def require_pod(self, key: Key, authorization: str | None) -> None:
        """Returns if it is an account of the service's namespace, as a pod's is, that asks.

        Pods report what they were asked, and their accounts may read nothing.
        """
        if not self.on:
            return
        token = _token(authorization)
        try:
            found = await self._review(TOKEN_REVIEWS, {"token": token}) if token else {}
        except ApiError as error:
            raise Undelivered(503, _nobody_can_say(error)) from error
        groups = (found.get("user") or {}).get("groups") or ()
        if f"system:serviceaccounts:{key.namespace}" not in groups:
            text = f"only pods of the namespace {key.namespace} may report what a model was asked"
            raise Undelivered(403, text)

    async def refusal(
        self, key: Key, authorization: str | None, kind: Resource
    ) -> tuple[int, str] | None:
        """The status and the reason that a request is refused with, if it is."""
        token = _token(authorization)
        if not token:
            return 403, (
                "this gateway asks who you are: send a token in the header Authorization, e.g. of "
                f"kubectl create token ACCOUNT -n {key.namespace}"
            )
        judgement = await self._judged(token, key, kind)
        return None if judgement[0] == 200 else judgement

    async def _judged(self, token: str, key: Key, kind: Resource) -> _Judgement:
        asked = (_digest(token), kind.plural, key)
        until, judgement = self._known.get(asked, _UNKNOWN)
        if until < time.monotonic():
            judgement = await self._judge(token, key, kind)
            if judgement[0] == 503:
                return judgement
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[asked] = (time.monotonic() + _SECONDS, judgement)
        return judgement

    async def _judge(self, token: str, key: Key, kind: Resource) -> _Judgement:
        if not token.isascii():
            return 401, "the token was not accepted: it is unknown"
        try:
            found = await self._review(TOKEN_REVIEWS, {"token": token})
            if not found.get("authenticated"):
                return 401, f"the token was not accepted: {found.get('error') or 'it is unknown'}"
            user = found.get("user") or {}
            attributes = {
                "verb": "get",
                "group": kind.group,
                "resource": kind.plural,
                "namespace": key.namespace,
                "name": key.name,
            }
            spec = {
                "user": user.get("username", ""),
                "groups": list(user.get("groups") or ()),
                "resourceAttributes": attributes,
            }
            allowed = (await self._review(SUBJECT_ACCESS_REVIEWS, spec)).get("allowed")
        except ApiError as error:
            return 503, _nobody_can_say(error)
        if allowed:
            return 200, ""
        return 403, (
            f'User "{spec["user"]}" cannot get resource "{kind.plural}" in API group '
            f'"{kind.group}" in the namespace "{key.namespace}"'
        )

    async def _review(self, kind: Resource, spec: Obj) -> Obj:
        review = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {},
            "spec": spec,
        }
        answer = await self._context.client.create(kind, review)
        status: Obj = answer.get("status") or {}
        return status


def _token(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _nobody_can_say(error: ApiError) -> str:
    return f"nobody can say now whether the token is good: {error}"
