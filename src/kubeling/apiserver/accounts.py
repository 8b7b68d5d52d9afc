"""``serviceaccounts/token``: tokens that expire, bound to an audience and an object."""

from __future__ import annotations

import datetime as dt
from typing import Final

from kubeling.apiserver.bodies import read_object
from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.requests import Answer, ApiRequest, ObjectAnswer, Target
from kubeling.apiserver.served import Served
from kubeling.apiserver.tokens import ISSUER, Tokens
from kubeling.kube.errors import Conflict, FieldError, Invalid, NotFound
from kubeling.kube.objects import Obj, format_time

__all__ = ["TokenRequests"]

_DEFAULT_SECONDS: Final = 3600
_LEAST_SECONDS: Final = 600
_MOST_SECONDS: Final = 1 << 32
_BINDABLE: Final = {"Pod": "pods", "Secret": "secrets"}


class TokenRequests:
    """Serves token requests."""

    def __init__(self, registry: Registry, tokens: Tokens) -> None:
        self._registry = registry
        self._tokens = tokens

    async def handle(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        account = self._registry.get(served, target.namespace, target.name)
        body = read_object(request) or {}
        spec = body.get("spec") or {}
        seconds = spec.get("expirationSeconds") or _DEFAULT_SECONDS
        if not _LEAST_SECONDS <= seconds <= _MOST_SECONDS:
            message = "may not specify a duration less than 10 minutes"
            error = FieldError("spec.expirationSeconds", "Invalid value", message, seconds)
            raise Invalid.of("authentication.k8s.io", "TokenRequest", target.name, [error])
        bound = self._bound(target.namespace, spec.get("boundObjectRef") or {})
        audiences = spec.get("audiences") or [ISSUER]
        token, expires = self._tokens.issue(account, seconds=seconds, audiences=audiences, **bound)
        moment = dt.datetime.fromtimestamp(expires, dt.UTC)
        answer: Obj = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": target.name, "namespace": target.namespace},
            "spec": {**spec, "audiences": audiences, "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": format_time(moment)},
        }
        return ObjectAnswer(answer, 201)

    def _bound(self, namespace: str, reference: Obj) -> dict[str, Obj]:
        kind = reference.get("kind")
        if not kind:
            return {}
        if kind not in _BINDABLE:
            message = 'supported values: "Pod", "Secret"'
            error = FieldError("spec.boundObjectRef.kind", "Unsupported value", message, kind)
            raise Invalid.of("authentication.k8s.io", "TokenRequest", "", [error])
        plural, name = _BINDABLE[kind], reference.get("name", "")
        record = self._registry.store.get(StoreKey(f"/{plural}", namespace, name))
        if record is None:
            raise NotFound.of("", plural, name)
        found = record.obj["metadata"]["uid"]
        if reference.get("uid") and reference["uid"] != found:
            why = f"the UID in the bound object reference ({reference['uid']}) does not match"
            raise Conflict.of("", plural, name, why)
        return {kind.lower(): record.obj}
