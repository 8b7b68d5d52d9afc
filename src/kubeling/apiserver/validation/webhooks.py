"""Rules of what users' own servers are asked, and of how they are reached."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from kubeling.apiserver.validation.rules import (
    Checks,
    Errors,
    choice,
    dns_subdomain,
    port_number,
    required,
    selector,
    unique,
)
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["WEBHOOK_RULES", "client_config_errors", "review_version_errors"]

_GROUP: Final = "admissionregistration.k8s.io"
_VERSIONS: Final = ("v1", "v1beta1")
_SIDE_EFFECTS: Final = ("None", "NoneOnDryRun")
_OPERATIONS: Final = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_CHOICES: Final = (
    ("failurePolicy", ("Fail", "Ignore")),
    ("matchPolicy", ("Equivalent", "Exact")),
    ("reinvocationPolicy", ("IfNeeded", "Never")),
)
_URL_FORM: Final = "desired format: https://host[/path]"
_STEP: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_PEM: Final = b"-----BEGIN CERTIFICATE-----"


def _configuration(new: Obj, old: Obj | None) -> Errors:
    webhooks: list[Obj] = new.get("webhooks") or []
    yield from unique(webhooks, "webhooks")
    for index, webhook in enumerate(webhooks):
        yield from _webhook(webhook, f"webhooks[{index}]")


def _webhook(webhook: Obj, path: str) -> Errors:
    yield from _name(webhook.get("name") or "", f"{path}.name")
    versions = webhook.get("admissionReviewVersions") or []
    yield from review_version_errors(versions, f"{path}.admissionReviewVersions")
    for index, rule in enumerate(webhook.get("rules") or ()):
        yield from _rule(rule, f"{path}.rules[{index}]")
    if webhook.get("sideEffects") is None:
        message = f"must specify one of {', '.join(_SIDE_EFFECTS)}"
        yield FieldError(f"{path}.sideEffects", "Required value", message)
    yield from choice(webhook, path, "sideEffects", _SIDE_EFFECTS)
    for field, choices in _CHOICES:
        yield from choice(webhook, path, field, choices)
    seconds = webhook.get("timeoutSeconds")
    if isinstance(seconds, int) and not 1 <= seconds <= 30:
        message = "the timeout value must be between 1 and 30 seconds"
        yield FieldError(f"{path}.timeoutSeconds", "Invalid value", message, seconds)
    for field in ("namespaceSelector", "objectSelector"):
        yield from selector(webhook.get(field) or {}, f"{path}.{field}")
    yield from client_config_errors(webhook.get("clientConfig") or {}, f"{path}.clientConfig")
    if conditions := webhook.get("matchConditions"):
        from kubeling.apiserver.webhooks.conditions import condition_errors

        yield from condition_errors(conditions, f"{path}.matchConditions")


def _name(name: str, path: str) -> Errors:
    if not name:
        yield FieldError(path, "Required value", "")
        return
    yield from dns_subdomain(name, path)
    if name.count(".") < 2:
        message = "should be a domain with at least three segments separated by dots"
        yield FieldError(path, "Invalid value", message, name)


def review_version_errors(versions: list[str], path: str) -> Errors:
    """At least one version of the review must be spoken by both sides."""
    listed = ", ".join(_VERSIONS)
    if not versions:
        yield FieldError(path, "Required value", f"must specify one of {listed}")
    elif not set(versions) & set(_VERSIONS):
        yield FieldError(path, "Invalid value", f"must include at least one of {listed}", versions)


def _rule(rule: Obj, path: str) -> Errors:
    yield from required(rule, path, "operations", "apiGroups", "apiVersions", "resources")
    yield from choice(rule, path, "scope", ("*", "Cluster", "Namespaced"))
    for index, operation in enumerate(rule.get("operations") or ()):
        field = f"operations[{index}]"
        yield from choice({field: operation}, path, field, _OPERATIONS)
    for field in ("operations", "apiGroups", "apiVersions"):
        yield from _alone(rule.get(field) or (), f"{path}.{field}", field)
    yield from _resources(rule.get("resources") or (), f"{path}.resources")


def _alone(values: Collection[str], path: str, what: str) -> Errors:
    if "*" in values and len(values) > 1:
        message = f"if '*' is present, must not specify other {_WORDS[what]}"
        yield FieldError(path, "Invalid value", message, list(values))


_WORDS: Final = {
    "operations": "operations",
    "apiGroups": "API groups",
    "apiVersions": "API versions",
}


def _resources(resources: Iterable[str], path: str) -> Errors:
    listed = list(resources)
    for index, resource in enumerate(listed):
        plural, _, subresource = resource.partition("/")
        if not plural:
            yield FieldError(f"{path}[{index}]", "Required value", "")
        elif subresource and subresource != "*" and f"{plural}/*" in listed:
            message = f"if '{plural}/*' is present, must not specify {resource}"
            yield FieldError(f"{path}[{index}]", "Invalid value", message, resource)
        elif subresource and plural != "*" and f"*/{subresource}" in listed:
            message = f"if '*/{subresource}' is present, must not specify {resource}"
            yield FieldError(f"{path}[{index}]", "Invalid value", message, resource)
    if "*/*" in listed and len(listed) > 1:
        message = "if '*/*' is present, must not specify other resources"
        yield FieldError(path, "Invalid value", message, listed)
    elif "*" in listed and any("/" not in resource for resource in listed if resource != "*"):
        message = "if '*' is present, must not specify other resources without subresources"
        yield FieldError(path, "Invalid value", message, listed)


def client_config_errors(config: Obj, path: str) -> Errors:
    """How a webhook is reached: by one of two ways, and over HTTPS."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        message = "exactly one of url or service is required"
        yield FieldError(path, "Required value", message)
    elif url is not None:
        yield from _url(url, f"{path}.url")
    else:
        yield from _service(service or {}, f"{path}.service")
    yield from _ca_bundle(config.get("caBundle"), f"{path}.caBundle")


def _url(url: str, path: str) -> Errors:
    def wrong(what: str, value: Any) -> FieldError:
        return FieldError(path, "Invalid value", f"{what}; {_URL_FORM}", value)

    try:
        parts = urlsplit(url)
        host = parts.netloc
    except ValueError as error:
        message = f"url must be a valid URL: {error}; {_URL_FORM}"
        yield FieldError(path, "Required value", message)
        return
    if parts.scheme != "https":
        yield wrong("'https' is the only allowed URL scheme", parts.scheme)
    if not host:
        yield wrong("host must be specified", host)
    if "@" in host:
        yield wrong("user information is not permitted in the URL", host.rpartition("@")[0])
    if parts.fragment:
        yield wrong("fragments are not permitted in the URL", parts.fragment)
    if parts.query:
        yield wrong("query parameters are not permitted in the URL", parts.query)


def _service(service: Obj, path: str) -> Errors:
    for field in ("name", "namespace"):
        if not service.get(field):
            yield FieldError(f"{path}.{field}", "Required value", f"service {field} is required")
    if (port := service.get("port")) is not None:
        yield from port_number(port, f"{path}.port")
    if way := service.get("path"):
        yield from _path(way, f"{path}.path")


def _path(way: str, path: str) -> Errors:
    if not way.startswith("/"):
        yield FieldError(path, "Invalid value", "must start with a '/'", way)
    elif way != "/":
        steps = way.removesuffix("/").split("/")[1:]
        for index, step in enumerate(steps):
            if not step:
                message = f"segment[{index}] may not be empty"
                yield FieldError(path, "Invalid value", message, way)
            elif not _STEP.fullmatch(step):
                message = f"segment[{index}]: must be a name of letters, digits, '-', '_' or '.'"
                yield FieldError(path, "Invalid value", message, way)


def _ca_bundle(text: Any, path: str) -> Errors:
    """PEM certificates; blank ones are accepted, as a place that a controller will fill in."""
    if not isinstance(text, str) or not text:
        return
    try:
        bundle = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        yield FieldError(path, "Invalid value", "must be base64 of PEM certificates", text)
        return
    if bundle.strip() and _PEM not in bundle:
        message = "unable to load root certificates: unable to parse bytes as PEM block"
        yield FieldError(path, "Invalid value", message, text)


WEBHOOK_RULES: Final[Checks] = {
    (_GROUP, "MutatingWebhookConfiguration"): _configuration,
    (_GROUP, "ValidatingWebhookConfiguration"): _configuration,
}
