"""Questions that are asked by creating an object: who am I, may I, is this token good?

Upstream: ``registry/authentication`` and ``registry/authorization`` with their validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubeling.apiserver.auth import Authenticator
from kubeling.apiserver.bodies import read_object
from kubeling.apiserver.decoding import cannot_be_handled
from kubeling.apiserver.rbac import Attributes, Rbac
from kubeling.apiserver.requests import Answer, ApiRequest, ObjectAnswer, Target
from kubeling.apiserver.served import Served
from kubeling.apiserver.tokens import TokenError
from kubeling.apiserver.user import User
from kubeling.kube.errors import BadRequest, FieldError, Invalid
from kubeling.kube.objects import Obj

__all__ = ["Reviews"]


class Reviews:
    """Answers the reviews of authentication.k8s.io and authorization.k8s.io."""

    def __init__(self, rbac: Rbac, authenticator: Authenticator) -> None:
        self._rbac = rbac
        self._authenticator = authenticator

    async def access(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        """``SubjectAccessReview`` and ``LocalSubjectAccessReview``: may someone do this?"""
        review = _review(served, request)
        spec = review["spec"]
        errors = [*_attribute_errors(spec), *_subject_errors(spec)]
        if served.resource.namespaced:
            errors += _local_errors(spec, target.namespace)
        if errors:
            raise Invalid.of(served.resource.group, served.resource.kind, "", errors)
        extra = {key.lower(): tuple(values) for key, values in (spec.get("extra") or {}).items()}
        user = User(
            spec.get("user") or "", tuple(spec.get("groups") or ()), spec.get("uid") or "", extra
        )
        return self._decided(review, served, user)

    async def own_access(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        """``SelfSubjectAccessReview``: may I do this?"""
        review = _review(served, request)
        if errors := list(_attribute_errors(review["spec"])):
            raise Invalid.of(served.resource.group, served.resource.kind, "", errors)
        return self._decided(review, served, request.user)

    async def own_rules(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        """``SelfSubjectRulesReview``: what may I do in a namespace?"""
        review = _review(served, request)
        namespace = review["spec"].get("namespace") or ""
        if not namespace:
            raise BadRequest("no namespace on request")
        rules = self._rbac.policy_rules_for(request.user, namespace)
        review["status"] = {
            "resourceRules": [rule for rule in rules if rule.get("resources")],
            "nonResourceRules": [rule for rule in rules if rule.get("nonResourceURLs")],
            "incomplete": False,
        }
        return _answer(review, served)

    async def token(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        """``TokenReview``: whom does a token stand for?"""
        review = _review(served, request)
        token = review["spec"].get("token") or ""
        if not token:
            raise BadRequest("token is required for TokenReview in authentication")
        audiences = review["spec"].get("audiences") or ()
        try:
            user, fitting = await self._authenticator.identify(token, audiences)
        except TokenError as error:
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
        review = _review(served, request)
        review.pop("spec", None)
        review["status"] = {"userInfo": request.user.to_object()}
        return _answer(review, served)

    def _decided(self, review: Obj, served: Served, user: User) -> ObjectAnswer:
        allowed, reason = self._rbac.decide(user, _attributes(review["spec"]))
        review["status"] = {"allowed": allowed, **({"reason": reason} if reason else {})}
        return _answer(review, served)


def _review(served: Served, request: ApiRequest) -> Obj:
    """The question, of the shape that its kind has."""
    body: Any = read_object(request)
    if not isinstance(body, dict):
        raise BadRequest("the request has no body")
    # Clients written in Go send the status too, as it is before there is an answer.
    body.pop("status", None)
    resource = served.resource
    settled = served.shape.settle(body, None)
    if settled.unreadable:
        raise cannot_be_handled(resource.kind, resource.version, settled.unreadable)
    if settled.errors:
        raise Invalid.of(resource.group, resource.kind, "", settled.errors)
    body["spec"] = body.get("spec") or {}
    body["metadata"] = body.get("metadata") or {}
    return body


def _attribute_errors(spec: Obj) -> Iterator[FieldError]:
    resource, plain = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and plain is not None:
        message = "cannot be specified in combination with resourceAttributes"
        yield FieldError("spec.nonResourceAttributes", "Invalid value", message, plain)
    if resource is None and plain is None:
        message = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        yield FieldError("spec.resourceAttributes", "Invalid value", message, None)


def _subject_errors(spec: Obj) -> Iterator[FieldError]:
    if not spec.get("user") and not spec.get("groups"):
        message = "at least one of user or group must be specified"
        yield FieldError("spec.user", "Invalid value", message, "")


def _local_errors(spec: Obj, namespace: str) -> Iterator[FieldError]:
    resource, plain = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and (resource.get("namespace") or "") != namespace:
        path, given = "spec.resourceAttributes.namespace", resource.get("namespace") or ""
        yield FieldError(path, "Invalid value", "must match metadata.namespace", given)
    if plain is not None:
        message = "disallowed on this kind of request"
        yield FieldError("spec.nonResourceAttributes", "Invalid value", message, plain)


def _attributes(spec: Obj) -> Attributes:
    resource: Obj = spec.get("resourceAttributes") or {}
    plain: Obj | None = spec.get("nonResourceAttributes")
    if plain is not None:
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
