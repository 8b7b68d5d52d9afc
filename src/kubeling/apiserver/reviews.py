"""Questions that are asked by creating an object: who am I, may I, is this token good?"""

from __future__ import annotations

from typing import Any

from kubeling.apiserver.auth import Authenticator
from kubeling.apiserver.bodies import read_object
from kubeling.apiserver.rbac import Attributes, Rbac
from kubeling.apiserver.requests import Answer, ApiRequest, ObjectAnswer, Target
from kubeling.apiserver.served import Served
from kubeling.apiserver.tokens import ISSUER, TokenError, Tokens
from kubeling.apiserver.user import User
from kubeling.kube.errors import BadRequest, Unauthorized
from kubeling.kube.objects import Obj

__all__ = ["Reviews"]


class Reviews:
    """Answers the reviews of authentication.k8s.io and authorization.k8s.io."""

    def __init__(self, rbac: Rbac, tokens: Tokens, authenticator: Authenticator) -> None:
        self._rbac = rbac
        self._tokens = tokens
        self._authenticator = authenticator

    async def access(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        """``SubjectAccessReview`` and ``LocalSubjectAccessReview``: may someone do this?"""
        review = _review(request)
        spec = review["spec"]
        if not spec.get("user") and not spec.get("groups"):
            raise BadRequest("spec.user: Required value: at least one of user or groups")
        wanted = _attributes(spec)
        if target.namespace and wanted.namespace != target.namespace:
            raise BadRequest("spec.resourceAttributes.namespace: must match metadata.namespace")
        user = User(spec.get("user") or "", tuple(spec.get("groups") or ()))
        return self._decided(review, served, user, wanted)

    async def own_access(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        """``SelfSubjectAccessReview``: may I do this?"""
        review = _review(request)
        return self._decided(review, served, request.user, _attributes(review["spec"]))

    async def own_rules(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        """``SelfSubjectRulesReview``: what may I do in a namespace?"""
        review = _review(request)
        namespace = review["spec"].get("namespace") or ""
        if not namespace:
            raise BadRequest("spec.namespace: Required value: no namespace on request")
        rules = self._rbac.policy_rules_for(request.user, namespace)
        review["status"] = {
            "resourceRules": [rule for rule in rules if "nonResourceURLs" not in rule],
            "nonResourceRules": [rule for rule in rules if "nonResourceURLs" in rule],
            "incomplete": False,
        }
        return _answer(review, served)

    async def token(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        """``TokenReview``: whom does a token stand for?"""
        review = _review(request)
        audiences = review["spec"].get("audiences") or [ISSUER]
        token = review["spec"].get("token") or ""
        try:
            user, fitting = self._tokens.check(token, audiences)
        except TokenError as error:
            try:
                user, fitting = self._authenticator.by_token(token), list(audiences)
            except Unauthorized:
                review["status"] = {"user": {}, "error": str(error)}
                return _answer(review, served)
        review["status"] = {
            "authenticated": True,
            "user": user.to_object(),
            "audiences": fitting,
        }
        return _answer(review, served)

    async def myself(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        """``SelfSubjectReview``: who am I?"""
        review = _review(request)
        review.pop("spec", None)
        review["status"] = {"userInfo": request.user.to_object()}
        return _answer(review, served)

    def _decided(self, review: Obj, served: Served, user: User, wanted: Attributes) -> ObjectAnswer:
        review["status"] = {"allowed": self._rbac.allows(user, wanted)}
        return _answer(review, served)


def _review(request: ApiRequest) -> Obj:
    body: Any = read_object(request)
    if not isinstance(body, dict):
        raise BadRequest("the request has no body")
    body["spec"] = body.get("spec") or {}
    body["metadata"] = body.get("metadata") or {}
    return body


def _attributes(spec: Obj) -> Attributes:
    resource: Obj = spec.get("resourceAttributes") or {}
    plain: Obj = spec.get("nonResourceAttributes") or {}
    if bool(resource) == bool(plain):
        raise BadRequest(
            "exactly one of spec.resourceAttributes or spec.nonResourceAttributes must be given"
        )
    if plain:
        return Attributes(plain.get("verb", ""), path=plain.get("path", ""))
    return Attributes(
        resource.get("verb", ""),
        resource.get("group", ""),
        resource.get("resource", ""),
        resource.get("subresource", ""),
        resource.get("namespace", ""),
        resource.get("name", ""),
        version=resource.get("version", ""),
    )


def _answer(review: Obj, served: Served) -> ObjectAnswer:
    resource = served.resource
    return ObjectAnswer({"kind": resource.kind, "apiVersion": resource.api_version, **review}, 201)
