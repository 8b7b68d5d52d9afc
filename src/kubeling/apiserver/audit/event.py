"""One request as ``audit.k8s.io/v1`` ``Event`` objects, one for each stage that is recorded: pure.

Upstream: ``apiserver/pkg/audit``. What is secret is never recorded: bodies of Secrets, of tokens
and of questions about tokens are left out whatever the level.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from kubeling.apiserver.user import User
from kubeling.kube.objects import Obj

__all__ = ["LEVELS", "AuditedRequest", "Level", "ObjectReference", "Stage", "event_of"]

Level = Literal["None", "Metadata", "Request", "RequestResponse"]
Stage = Literal["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"]
LEVELS: Final[tuple[Level, ...]] = ("None", "Metadata", "Request", "RequestResponse")

_SECRET: Final = frozenset({
    ("", "secrets", ""), ("", "serviceaccounts", "token"),
    ("authentication.k8s.io", "tokenreviews", ""),
})  # fmt: skip


@dataclass(slots=True)
class ObjectReference:
    """What a request is about; names and versions become known as it is carried out."""

    group: str
    version: str
    resource: str
    subresource: str
    namespace: str
    name: str
    uid: str = ""
    resource_version: str = ""

    @property
    def is_secret(self) -> bool:
        """Whether bodies hold what nobody may read in a log."""
        return (self.group, self.resource, self.subresource) in _SECRET

    def learn(self, obj: Any) -> None:
        """Takes what the path does not say from an object that was sent or answered."""
        metadata = obj.get("metadata") if isinstance(obj, dict) else None
        if isinstance(metadata, dict):
            self.name = self.name or str(metadata.get("name") or "")
            self.namespace = self.namespace or str(metadata.get("namespace") or "")
            self.uid = self.uid or str(metadata.get("uid") or "")
            version = metadata.get("resourceVersion")
            self.resource_version = self.resource_version or str(version or "")

    def to_object(self) -> Obj:
        """As ``ObjectReference``, without what is empty."""
        listed = {
            "resource": self.resource,
            "namespace": self.namespace,
            "name": self.name,
            "uid": self.uid,
            "apiGroup": self.group,
            "apiVersion": self.version,
            "resourceVersion": self.resource_version,
            "subresource": self.subresource,
        }
        return {key: value for key, value in listed.items() if value}


@dataclass(slots=True)
class AuditedRequest:
    """What is known of a request; the rest follows when it is answered."""

    audit_id: str
    level: Level
    uri: str
    verb: str
    user: User | None
    source: str
    user_agent: str
    received: dt.datetime
    impersonated: User | None = None
    about: ObjectReference | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    request_object: Any = None
    response_object: Any = None
    status: Obj | None = None
    omit_stages: frozenset[Stage] = frozenset()
    omit_managed_fields: bool = False


def event_of(request: AuditedRequest, stage: Stage, now: dt.datetime) -> Obj:
    """The event of one stage."""
    event: Obj = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": request.level,
        "auditID": request.audit_id,
        "stage": stage,
        "requestURI": request.uri,
        "verb": request.verb,
        "user": request.user.to_object() if request.user else {},
    }
    if request.impersonated is not None:
        event["impersonatedUser"] = request.impersonated.to_object()
    if request.source:
        event["sourceIPs"] = [request.source]
    if request.user_agent:
        event["userAgent"] = request.user_agent
    if request.about is not None:
        event["objectRef"] = request.about.to_object()
    if stage != "RequestReceived":
        if request.status is not None:
            event["responseStatus"] = request.status
        for key, value in (
            ("requestObject", request.request_object),
            ("responseObject", request.response_object),
        ):
            if value is not None:
                event[key] = _bare(value) if request.omit_managed_fields else value
    event["requestReceivedTimestamp"] = _micro(request.received)
    event["stageTimestamp"] = _micro(now)
    if stage != "RequestReceived" and request.annotations:
        event["annotations"] = request.annotations
    return event


def _bare(value: Any) -> Any:
    """An object, or a list of objects, without who owns which field."""
    if not isinstance(value, dict):
        return value
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and "managedFields" in metadata:
        kept = {key: found for key, found in metadata.items() if key != "managedFields"}
        value = {**value, "metadata": kept}
    if isinstance(value.get("items"), list):
        value = {**value, "items": [_bare(item) for item in value["items"]]}
    return value


def _micro(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
