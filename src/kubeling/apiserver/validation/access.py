"""Rules of roles and of who is given them."""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.validation.rules import Check, Checks, Errors, choice, required, selector
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["ACCESS_RULES"]

_RBAC: Final = "rbac.authorization.k8s.io"
_SUBJECTS: Final = ("Group", "ServiceAccount", "User")


def _rules(role: Obj, *, namespaced: bool) -> Errors:
    for index, rule in enumerate(role.get("rules") or ()):
        path = f"rules[{index}]"
        if not rule.get("verbs"):
            message = "verbs must contain at least one value"
            yield FieldError(f"{path}.verbs", "Required value", message)
        urls = rule.get("nonResourceURLs")
        if urls and namespaced:
            message = "namespaced rules cannot apply to non-resource URLs"
            yield FieldError(f"{path}.nonResourceURLs", "Invalid value", message, urls)
        elif urls:
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                message = "rules cannot apply to both regular resources and non-resource URLs"
                yield FieldError(f"{path}.nonResourceURLs", "Invalid value", message, urls)
            continue
        if not rule.get("apiGroups"):
            message = "resource rules must supply at least one api group"
            yield FieldError(f"{path}.apiGroups", "Required value", message)
        if not rule.get("resources"):
            message = "resource rules must supply at least one resource"
            yield FieldError(f"{path}.resources", "Required value", message)


def _role(new: Obj, old: Obj | None) -> Errors:
    yield from _rules(new, namespaced=True)


def _cluster_role(new: Obj, old: Obj | None) -> Errors:
    yield from _rules(new, namespaced=False)
    for index, found in enumerate(
        (new.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()
    ):
        yield from selector(found, f"aggregationRule.clusterRoleSelectors[{index}]")


def _binding(roles: tuple[str, ...], *, namespaced: bool) -> Check:
    def check(new: Obj, old: Obj | None) -> Errors:
        reference = new.get("roleRef") or {}
        yield from choice(reference, "roleRef", "apiGroup", (_RBAC,))
        yield from choice(reference, "roleRef", "kind", roles)
        yield from required(reference, "roleRef", "name")
        for index, subject in enumerate(new.get("subjects") or ()):
            yield from _subject(subject, f"subjects[{index}]", namespaced=namespaced)

    return check


def _subject(subject: Obj, path: str, *, namespaced: bool) -> Errors:
    yield from required(subject, path, "name")
    yield from choice(subject, path, "kind", _SUBJECTS)
    account = subject.get("kind") == "ServiceAccount"
    yield from choice(subject, path, "apiGroup", ("",) if account else (_RBAC,))
    if account and not namespaced:
        yield from required(subject, path, "namespace")


ACCESS_RULES: Final[Checks] = {
    (_RBAC, "Role"): _role,
    (_RBAC, "ClusterRole"): _cluster_role,
    (_RBAC, "RoleBinding"): _binding(("ClusterRole", "Role"), namespaced=True),
    (_RBAC, "ClusterRoleBinding"): _binding(("ClusterRole",), namespaced=False),
}
