"""Nobody may hand out rights they do not have, unless they hold the verb for that.

Upstream: ``registry/rbac/*/policybased`` and ``registry/rbac/validation``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.rbac import RBAC, Attributes, Rbac, Rule, rules_of
from kubeling.apiserver.served import Served
from kubeling.kube.errors import Forbidden, NotFound
from kubeling.kube.objects import Obj

__all__ = ["EscalationCheck"]

_ROLES: Final = (f"{RBAC}/roles", f"{RBAC}/clusterroles")
_BINDINGS: Final = (f"{RBAC}/rolebindings", f"{RBAC}/clusterrolebindings")
_ALL: Final = frozenset({"*"})
_EVERYTHING: Final = (
    Rule(_ALL, groups=_ALL, resources=_ALL),
    Rule(_ALL, paths=("*",)),
)


class EscalationCheck:
    """Refuses roles and bindings that would give more than their writer has."""

    storages: Final = (*_ROLES, *_BINDINGS)

    def __init__(self, rbac: Rbac) -> None:
        self._rbac = rbac

    def __call__(self, served: Served, new: Obj, old: Obj | None, options: WriteOptions) -> None:
        if served.storage in _ROLES:
            fields = ("rules", "aggregationRule")
            if old is None or any(new.get(field) != old.get(field) for field in fields):
                self._check_role(served, new, old, options)
        else:
            fields = ("subjects", "roleRef")
            if old is None or any(new.get(field) != old.get(field) for field in fields):
                self._check_binding(served, new, options)

    def _check_role(
        self, served: Served, role: Obj, old: Obj | None, options: WriteOptions
    ) -> None:
        namespace, name = role["metadata"].get("namespace", ""), role["metadata"]["name"]
        plural = served.resource.plural
        escalate = Attributes("escalate", RBAC, plural, "", namespace, name)
        if self._rbac.allows(options.user, escalate):
            return
        if lacking := self._rbac.lacking(options.user, namespace, rules_of(role)):
            raise _refused(served, name, options, lacking)
        gathers = _aggregates(role) or (old is not None and _aggregates(old))
        if gathers and self._rbac.lacking(options.user, "", _EVERYTHING):
            why = "must have cluster-admin privileges to use the aggregationRule"
            raise Forbidden.of(RBAC, plural, name, why)

    def _check_binding(self, served: Served, binding: Obj, options: WriteOptions) -> None:
        namespace, name = binding["metadata"].get("namespace", ""), binding["metadata"]["name"]
        reference = binding.get("roleRef") or {}
        kind, role = reference.get("kind", ""), reference.get("name", "")
        plural = "clusterroles" if kind == "ClusterRole" else "roles"
        bind = Attributes("bind", RBAC, plural, "", namespace, role)
        if self._rbac.allows(options.user, bind):
            return
        rules = self._rbac.rules_of_role(namespace, kind, role)
        if rules is None:
            raise NotFound.of(RBAC, plural, role)
        if lacking := self._rbac.lacking(options.user, namespace, rules):
            raise _refused(served, name, options, lacking)


def _aggregates(role: Obj) -> bool:
    return bool((role.get("aggregationRule") or {}).get("clusterRoleSelectors"))


def _refused(served: Served, name: str, options: WriteOptions, lacking: list[Rule]) -> Forbidden:
    listed = "\n".join(sorted(_compact(lacking)))
    why = (
        f'user "{options.user.name}" (groups={_quoted(options.user.groups)}) is attempting to '
        f"grant RBAC permissions not currently held:\n{listed}"
    )
    return Forbidden.of(served.resource.group, served.resource.plural, name, why)


def _compact(rules: Iterable[Rule]) -> Iterator[str]:
    """Rules of one verb each as upstream writes them, verbs of the same thing together."""
    verbs: dict[Rule, list[str]] = {}
    for rule in rules:
        about = Rule(frozenset(), rule.groups, rule.resources, rule.names, rule.paths)
        verbs.setdefault(about, []).extend(rule.verbs)
    for about, found in verbs.items():
        parts = [
            f"{field}:{_quoted(sorted(values))}"
            for field, values in (
                ("APIGroups", about.groups),
                ("Resources", about.resources),
                ("ResourceNames", about.names),
                ("NonResourceURLs", about.paths),
                ("Verbs", found),
            )
            if values
        ]
        yield "{" + ", ".join(parts) + "}"


def _quoted(values: Iterable[str]) -> str:
    return "[" + " ".join(f'"{value}"' for value in values) + "]"
