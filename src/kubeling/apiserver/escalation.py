"""Nobody may hand out rights they do not have, unless they hold the verb for that."""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.rbac import RBAC, Attributes, Rbac, rules_of
from kubeling.apiserver.served import Served
from kubeling.kube.errors import Forbidden, NotFound
from kubeling.kube.objects import Obj

__all__ = ["EscalationCheck"]

_ROLES: Final = (f"{RBAC}/roles", f"{RBAC}/clusterroles")
_BINDINGS: Final = (f"{RBAC}/rolebindings", f"{RBAC}/clusterrolebindings")


class EscalationCheck:
    """Refuses roles and bindings that would give more than their writer has."""

    def __init__(self, rbac: Rbac) -> None:
        self._rbac = rbac

    def __call__(self, served: Served, new: Obj, old: Obj | None, options: WriteOptions) -> None:
        if served.storage in _ROLES and (old is None or new.get("rules") != old.get("rules")):
            self._check_role(served, new, options)
        elif served.storage in _BINDINGS:
            self._check_binding(served, new, options)

    def _check_role(self, served: Served, role: Obj, options: WriteOptions) -> None:
        namespace, name = role["metadata"].get("namespace", ""), role["metadata"]["name"]
        plural = served.resource.plural
        escalate = Attributes("escalate", RBAC, plural, "", namespace, name)
        if self._rbac.allows(options.user, escalate):
            return
        if not self._rbac.holds(options.user, namespace, rules_of(role)):
            raise _refused(served, name, options)

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
        if not self._rbac.holds(options.user, namespace, rules):
            raise _refused(served, name, options)


def _refused(served: Served, name: str, options: WriteOptions) -> Forbidden:
    groups = " ".join(options.user.groups)
    why = (
        f'user "{options.user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions '
        "not currently held"
    )
    return Forbidden.of(served.resource.group, served.resource.plural, name, why)
