"""``serviceaccounts/token``: tokens that expire, bound to an audience and an object."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Final

from kubeling.apiserver.bodies import read_object
from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.requests import Answer, ApiRequest, ObjectAnswer, Target
from kubeling.apiserver.served import Served
from kubeling.apiserver.tokens import ISSUER, Tokens
from kubeling.kube.errors import BadRequest, Conflict, FieldError, Invalid, NotFound
from kubeling.kube.objects import Obj, format_time

__all__ = ["TokenRequests"]

_DEFAULT_SECONDS: Final = 3600
_LEAST_SECONDS: Final = 600
_MOST_SECONDS: Final = 1 << 32
_BINDABLE: Final = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}
_GROUP: Final = "authentication.k8s.io"


class TokenRequests:
    """Serves token requests (``registry/core/serviceaccount/storage/token.go``)."""

    def __init__(self, registry: Registry, tokens: Tokens) -> None:
        self._registry = registry
        self._tokens = tokens

    async def handle(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        body = _request(request)
        errors = list(_errors(body, target))
        if errors:
            raise Invalid.of(_GROUP, "TokenRequest", "", errors)
        account = self._registry.get(served, target.namespace, target.name)
        metadata, spec = body["metadata"], body["spec"]
        uid = account["metadata"]["uid"]
        if metadata.get("uid") and metadata["uid"] != uid:
            why = (
                f"the UID in the token request ({metadata['uid']}) does not match the UID of the "
                f"service account ({uid})"
            )
            raise Conflict.of(_GROUP, "TokenRequest", target.name, why)
        seconds, audiences = spec["expirationSeconds"], spec.get("audiences") or [ISSUER]
        bound = self._bound(target, spec.get("boundObjectRef") or {})
        token, expires = self._tokens.issue(account, seconds=seconds, audiences=audiences, **bound)
        moment = dt.datetime.fromtimestamp(expires, dt.UTC)
        answer: Obj = {
            "kind": "TokenRequest",
            "apiVersion": f"{_GROUP}/v1",
            "metadata": {
                "name": target.name,
                "namespace": target.namespace,
                "uid": uid,
                "creationTimestamp": format_time(self._registry.clock.now()),
            },
            "spec": {**spec, "audiences": audiences},
            "status": {"token": token, "expirationTimestamp": format_time(moment)},
        }
        return ObjectAnswer(answer, 201)

    def _bound(self, target: Target, reference: Obj) -> dict[str, Obj]:
        """What the token depends on, by the names that :meth:`Tokens.issue` has for it."""
        if not reference:
            return {}
        kind, version = reference.get("kind", ""), reference.get("apiVersion") or "v1"
        if kind not in _BINDABLE or version != "v1":
            group = version.rpartition("/")[0]
            raise BadRequest(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
        plural, name = _BINDABLE[kind], reference.get("name", "")
        namespace = "" if kind == "Node" else target.namespace
        record = self._registry.store.get(StoreKey(f"/{plural}", namespace, name))
        if record is None:
            raise NotFound.of("", plural, name)
        found = record.obj["metadata"]["uid"]
        if reference.get("uid") and reference["uid"] != found:
            why = (
                f"the UID in the bound object reference ({reference['uid']}) does not match the "
                "UID in record. The object might have been deleted and then recreated"
            )
            raise Conflict.of("", kind, name, why)
        if kind != "Pod":
            return {kind.lower(): record.obj}
        return self._bound_to_pod(record.obj, target.name)

    def _bound_to_pod(self, pod: Obj, account: str) -> dict[str, Obj]:
        spec = pod["spec"]
        if spec.get("serviceAccountName") != account:
            raise BadRequest(
                f'cannot bind token for serviceaccount "{account}" to pod running with different '
                "serviceaccount name."
            )
        node = self._registry.store.get(StoreKey("/nodes", "", spec.get("nodeName") or ""))
        return {"pod": pod} if node is None else {"pod": pod, "node": node.obj}


def _request(request: ApiRequest) -> Obj:
    """The body with its defaults, or one that says nothing."""
    body = read_object(request)
    if not isinstance(body, dict):
        body = {}
    metadata, spec = body.get("metadata") or {}, body.get("spec") or {}
    if not isinstance(metadata, dict) or not isinstance(spec, dict):
        raise BadRequest("metadata and spec of a TokenRequest are objects")
    seconds = spec.get("expirationSeconds")
    return {
        "metadata": metadata,
        "spec": {**spec, "expirationSeconds": _DEFAULT_SECONDS if seconds is None else seconds},
    }


def _errors(body: Obj, target: Target) -> Iterator[FieldError]:
    metadata, spec = body["metadata"], body["spec"]
    for field, wanted in (("name", target.name), ("namespace", target.namespace)):
        if metadata.get(field) and metadata[field] != wanted:
            message = f"must match the service account {field} if specified"
            yield FieldError(f"metadata.{field}", "Invalid value", message, metadata[field])
    audiences, reference = spec.get("audiences") or [], spec.get("boundObjectRef") or {}
    if not isinstance(audiences, list) or not all(isinstance(entry, str) for entry in audiences):
        yield FieldError("spec.audiences", "Invalid value", "must be a list of strings", audiences)
    if not isinstance(reference, dict) or not all(isinstance(v, str) for v in reference.values()):
        message = "must be an object of texts"
        yield FieldError("spec.boundObjectRef", "Invalid value", message, reference)
    path, seconds = "spec.expirationSeconds", spec["expirationSeconds"]
    if not isinstance(seconds, int):
        yield FieldError(path, "Invalid value", "must be a number of seconds", seconds)
    elif seconds < _LEAST_SECONDS:
        message = "may not specify a duration less than 10 minutes"
        yield FieldError(path, "Invalid value", message, seconds)
    elif seconds > _MOST_SECONDS:
        message = "may not specify a duration larger than 2^32 seconds"
        yield FieldError(path, "Invalid value", message, seconds)
