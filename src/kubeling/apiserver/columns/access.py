"""The columns of who may do what: accounts, roles, bindings, certificates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kubeling.apiserver.columns.column import AGE, CREATED_AT, Columns, computed, get, text
from kubeling.kube.durations import human_duration
from kubeling.kube.objects import Obj

__all__ = ["ACCESS_COLUMNS"]

_RBAC: Final = "rbac.authorization.k8s.io"


def _role(binding: Obj) -> str:
    return f"{get(binding, 'roleRef', 'kind')}/{get(binding, 'roleRef', 'name')}"


def _subjects(kind: str) -> Callable[[Obj], str]:
    def read(binding: Obj) -> str:
        found = [s for s in binding.get("subjects") or () if s.get("kind") == kind]
        return ", ".join(
            f"{s.get('namespace', '')}/{s['name']}" if kind == "ServiceAccount" else s["name"]
            for s in found
        )

    return read


def _requested(request: Obj) -> str:
    seconds = get(request, "spec", "expirationSeconds", default=None)
    return "<none>" if seconds is None else human_duration(seconds)


def _condition(request: Obj) -> str:
    given = {c.get("type") for c in get(request, "status", "conditions", default=[])}
    words = [word for word in ("Approved", "Denied", "Failed") if word in given] or ["Pending"]
    if get(request, "status", "certificate"):
        words.append("Issued")
    return ",".join(words)


_BINDING: Final = (
    computed("Role", _role),
    AGE,
    computed("Users", _subjects("User"), 1),
    computed("Groups", _subjects("Group"), 1),
    computed("ServiceAccounts", _subjects("ServiceAccount"), 1),
)

ACCESS_COLUMNS: Final[Columns] = {
    ("", "ServiceAccount"): (
        computed("Secrets", lambda o: len(o.get("secrets") or ()), type="integer"),
        AGE,
    ),
    (_RBAC, "Role"): (CREATED_AT,),
    (_RBAC, "ClusterRole"): (CREATED_AT,),
    (_RBAC, "RoleBinding"): _BINDING,
    (_RBAC, "ClusterRoleBinding"): _BINDING,
    ("certificates.k8s.io", "CertificateSigningRequest"): (
        AGE,
        text("SignerName", "spec", "signerName"),
        text("Requestor", "spec", "username"),
        computed("RequestedDuration", _requested),
        computed("Condition", _condition),
    ),
}
