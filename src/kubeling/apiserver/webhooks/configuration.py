"""Webhook configurations, read once into what a request needs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from kubeling.kube import selectors
from kubeling.kube.objects import Obj
from kubeling.kube.selectors import LabelSelector

__all__ = ["REVIEW_VERSIONS", "ClientConfig", "Rule", "ServiceReference", "Webhook", "webhooks_of"]

REVIEW_VERSIONS: Final = ("v1", "v1beta1")
"""The versions of AdmissionReview and ConversionReview that are spoken, the best first."""

_HTTPS: Final = 443


@dataclass(frozen=True, slots=True)
class ServiceReference:
    """A Service that a webhook is reached through."""

    namespace: str
    name: str
    port: int = _HTTPS
    path: str = ""

    @property
    def host(self) -> str:
        """The name that the webhook's certificate is for."""
        return f"{self.name}.{self.namespace}.svc"


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """How to reach a webhook, and whom to trust there; without ``ca_bundle`` as the system does."""

    url: str = ""
    service: ServiceReference | None = None
    ca_bundle: bytes = b""

    @classmethod
    def of(cls, config: Obj) -> ClientConfig:
        service = config.get("service")
        return cls(
            config.get("url") or "",
            ServiceReference(
                service.get("namespace") or "",
                service.get("name") or "",
                service.get("port") or _HTTPS,
                service.get("path") or "",
            )
            if service
            else None,
            _decoded(config.get("caBundle") or ""),
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """Requests that a webhook wants to see; ``*`` stands for all."""

    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    resources: tuple[tuple[str, str], ...]
    """Resources with their subresource."""
    scope: str

    @classmethod
    def of(cls, rule: Obj) -> Rule:
        return cls(
            frozenset(rule.get("operations") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("apiVersions") or ()),
            tuple(_split(resource) for resource in rule.get("resources") or ()),
            rule.get("scope") or "*",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Webhook:
    """One webhook of one configuration."""

    configuration: str
    name: str
    client: ClientConfig
    rules: tuple[Rule, ...]
    equivalent: bool
    namespaces: LabelSelector
    objects: LabelSelector
    timeout: int
    ignores_failure: bool
    reinvoked: bool
    review_version: str
    conditions: tuple[Obj, ...] = ()
    """``matchConditions``, all of which must hold."""


def webhooks_of(configuration: Obj) -> Iterable[Webhook]:
    """The webhooks of a configuration that was validated and completed with defaults."""
    name = configuration["metadata"]["name"]
    for webhook in configuration.get("webhooks") or ():
        yield _webhook(name, webhook)


def _webhook(configuration: str, webhook: Obj) -> Webhook:
    offered = webhook.get("admissionReviewVersions") or ()
    return Webhook(
        configuration=configuration,
        name=webhook["name"],
        client=ClientConfig.of(webhook.get("clientConfig") or {}),
        rules=tuple(map(Rule.of, webhook.get("rules") or ())),
        equivalent=webhook.get("matchPolicy") != "Exact",
        namespaces=selectors.from_object(webhook.get("namespaceSelector") or {}),
        objects=selectors.from_object(webhook.get("objectSelector") or {}),
        timeout=webhook.get("timeoutSeconds") or 10,
        ignores_failure=webhook.get("failurePolicy") == "Ignore",
        reinvoked=webhook.get("reinvocationPolicy") == "IfNeeded",
        review_version=next((v for v in offered if v in REVIEW_VERSIONS), REVIEW_VERSIONS[0]),
        conditions=tuple(webhook.get("matchConditions") or ()),
    )


def _split(resource: str) -> tuple[str, str]:
    plural, _, subresource = resource.partition("/")
    return plural, subresource


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""
