"""What an ``AuthenticationConfiguration`` may not say (``apis/apiserver/validation``)."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from kubeling.apiserver.oidc.configuration import (
    AuthenticationConfiguration,
    ClaimMappings,
    ClaimOrExpression,
    Issuer,
    ValidationRule,
)
from kubeling.apiserver.tokens import ISSUER
from kubeling.kube.errors import FieldError

__all__ = ["configuration_errors"]


def configuration_errors(found: AuthenticationConfiguration) -> Iterator[FieldError]:
    """What is wrong with a configuration; expressions are compiled elsewhere."""
    urls = [entry.issuer.url for entry in found.jwt]
    for index, entry in enumerate(found.jwt):
        path = f"jwt[{index}]"
        yield from _issuer_errors(entry.issuer, f"{path}.issuer")
        if entry.issuer.url in urls[:index]:
            yield FieldError(f"{path}.issuer.url", "Duplicate value", "", entry.issuer.url)
        if entry.issuer.url == ISSUER:
            message = f"URL must not overlap with disallowed issuers: [{ISSUER}]"
            yield FieldError(f"{path}.issuer.url", "Invalid value", message, ISSUER)
        yield from _mapping_errors(entry.claim_mappings, f"{path}.claimMappings")
        for place, rule in enumerate(entry.claim_validation_rules):
            yield from _rule_errors(rule, f"{path}.claimValidationRules[{place}]")
        for place, rule in enumerate(entry.user_validation_rules):
            if not rule.expression:
                where = f"{path}.userValidationRules[{place}].expression"
                yield FieldError(where, "Required value", "")
    if found.anonymous and found.anonymous.conditions and not found.anonymous.enabled:
        message = "enabled should be set to true when conditions are defined"
        yield FieldError("anonymous.conditions", "Invalid value", message)


def _issuer_errors(issuer: Issuer, path: str) -> Iterator[FieldError]:
    yield from _url_errors(issuer.url, f"{path}.url")
    if issuer.discovery_url:
        yield from _url_errors(issuer.discovery_url, f"{path}.discoveryURL")
        if issuer.discovery_url.rstrip("/") == issuer.url.rstrip("/"):
            message = "discoveryURL must be different from URL"
            yield FieldError(f"{path}.discoveryURL", "Invalid value", message, issuer.discovery_url)
    if not issuer.audiences:
        yield FieldError(f"{path}.audiences", "Required value", "at least one is required")
    for index, audience in enumerate(issuer.audiences):
        if not audience:
            yield FieldError(f"{path}.audiences[{index}]", "Required value", "")
    if len(issuer.audiences) > 1 and not issuer.audience_match_policy:
        message = "audienceMatchPolicy must be MatchAny for multiple audiences"
        yield FieldError(f"{path}.audienceMatchPolicy", "Invalid value", message, "")


def _url_errors(url: str, path: str) -> Iterator[FieldError]:
    if not url:
        yield FieldError(path, "Required value", "")
        return
    parts = urlsplit(url)
    for wrong, message in (
        (parts.scheme != "https", "URL scheme must be https"),
        (bool(parts.username or parts.password), "URL must not contain a username or password"),
        (bool(parts.query), "URL must not contain a query"),
        (bool(parts.fragment), "URL must not contain a fragment"),
    ):
        if wrong:
            yield FieldError(path, "Invalid value", message, url)


def _mapping_errors(mappings: ClaimMappings, path: str) -> Iterator[FieldError]:
    yield from _source_errors(mappings.username, f"{path}.username", required=True)
    yield from _source_errors(mappings.groups, f"{path}.groups", required=False)
    yield from _source_errors(mappings.uid, f"{path}.uid", required=False, prefixed=False)
    seen: set[str] = set()
    for index, extra in enumerate(mappings.extra):
        where = f"{path}.extra[{index}]"
        domain, slash, rest = extra.key.partition("/")
        if not (domain and slash and rest):
            message = 'must be a domain-prefixed path (such as "acme.io/foo")'
            yield FieldError(f"{where}.key", "Invalid value", message, extra.key)
        if extra.key != extra.key.lower():
            yield FieldError(f"{where}.key", "Invalid value", "must be lowercase", extra.key)
        if f".{domain}".endswith((".k8s.io", ".kubernetes.io")):
            message = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
            yield FieldError(f"{where}.key", "Invalid value", message, extra.key)
        if extra.key in seen:
            yield FieldError(f"{where}.key", "Duplicate value", "", extra.key)
        seen.add(extra.key)
        if not extra.value_expression:
            yield FieldError(f"{where}.valueExpression", "Required value", "")


def _source_errors(
    source: ClaimOrExpression, path: str, *, required: bool, prefixed: bool = True
) -> Iterator[FieldError]:
    if source.claim and source.expression:
        message = "claim and expression can't both be set"
        yield FieldError(path, "Invalid value", message, "")
    elif required and not (source.claim or source.expression):
        yield FieldError(path, "Required value", "claim or expression is required")
    if prefixed and source.claim and source.prefix is None:
        message = (
            "prefix is required when claim is set. It can be set to an empty string to disable "
            "prefixing"
        )
        yield FieldError(f"{path}.prefix", "Required value", message)
    if source.prefix and not source.claim:
        message = "prefix can't be set when expression is set"
        yield FieldError(f"{path}.prefix", "Invalid value", message, source.prefix)


def _rule_errors(rule: ValidationRule, path: str) -> Iterator[FieldError]:
    if bool(rule.claim) == bool(rule.expression):
        if rule.claim:
            message = "claim and expression can't both be set"
            yield FieldError(path, "Invalid value", message, rule.claim)
        else:
            yield FieldError(path, "Required value", "claim or expression is required")
    if rule.claim and rule.message:
        message = "may not be specified when claim is set"
        yield FieldError(f"{path}.message", "Invalid value", message, rule.message)
    if rule.expression and rule.required_value:
        message = "may not be specified when expression is set"
        yield FieldError(f"{path}.requiredValue", "Invalid value", message, rule.required_value)
