"""Defaults of what rules a cluster: roles, limits, priorities, webhooks, definitions."""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.defaults.rules import Rule, Rules, default, part
from kubeling.kube.objects import Obj

__all__ = ["ACCESS_DEFAULTS"]

_RBAC: Final = "rbac.authorization.k8s.io"
_HTTPS: Final = {"port": 443}
_WEBHOOK: Final[Obj] = {
    "failurePolicy": "Fail",
    "matchPolicy": "Equivalent",
    "namespaceSelector": {},
    "objectSelector": {},
    "timeoutSeconds": 10,
}
_MATCH: Final[Obj] = {
    "matchPolicy": "Equivalent",
    "namespaceSelector": {},
    "objectSelector": {},
}


def _subject(subject: Obj) -> None:
    if subject.get("kind") in ("User", "Group"):
        default(subject, {"apiGroup": _RBAC})


def _container_limit(limit: Obj) -> None:
    """A container's limit is by default the most it may be, its request the limit or the least."""
    if limit.get("type") != "Container":
        return
    default(limit, {"default": {}, "defaultRequest": {}})
    default(part(limit, "default"), part(limit, "max"))
    default(part(limit, "defaultRequest"), part(limit, "default"))
    default(part(limit, "defaultRequest"), part(limit, "min"))
    for field in ("default", "defaultRequest"):
        if limit[field] == {}:
            del limit[field]


def _names(names: Obj) -> None:
    kind = names.get("kind")
    if isinstance(kind, str) and kind:
        default(names, {"singular": kind.lower(), "listKind": f"{kind}List"})


_BINDING: Final = (Rule("roleRef", {"apiGroup": _RBAC}), Rule("subjects[]", _subject))


def _webhooks(**more: object) -> tuple[Rule, ...]:
    return (
        Rule("webhooks[]", {**_WEBHOOK, **more}),
        Rule("webhooks[].clientConfig.service", _HTTPS),
        Rule("webhooks[].rules[]", {"scope": "*"}),
    )


def _match(path: str) -> tuple[Rule, ...]:
    return (
        Rule(path, _MATCH),
        Rule(f"{path}.resourceRules[]", {"scope": "*"}),
        Rule(f"{path}.excludeResourceRules[]", {"scope": "*"}),
    )


ACCESS_DEFAULTS: Final[Rules] = {
    (f"{_RBAC}/v1", "RoleBinding"): _BINDING,
    (f"{_RBAC}/v1", "ClusterRoleBinding"): _BINDING,
    ("apiregistration.k8s.io/v1", "APIService"): (Rule("spec.service", _HTTPS),),
    ("v1", "LimitRange"): (Rule("spec.limits[]", _container_limit),),
    ("scheduling.k8s.io/v1", "PriorityClass"): (
        Rule("", {"preemptionPolicy": "PreemptLowerPriority"}),
    ),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"): _webhooks(
        reinvocationPolicy="Never"
    ),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"): _webhooks(),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"): (
        Rule("spec", {"failurePolicy": "Fail"}),
        *_match("spec.matchConstraints"),
    ),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"): _match(
        "spec.matchResources"
    ),
    ("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicy"): (
        Rule("spec", {"failurePolicy": "Fail", "reinvocationPolicy": "Never"}),
        *_match("spec.matchConstraints"),
    ),
    ("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicyBinding"): _match(
        "spec.matchResources"
    ),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): (
        Rule("spec", {"conversion": {"strategy": "None"}}),
        Rule("spec.conversion.webhook.clientConfig.service", _HTTPS),
        Rule("spec.names", _names),
    ),
}
