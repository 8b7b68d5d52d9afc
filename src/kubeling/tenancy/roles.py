"""The roles people get in a namespace: kubeflow-admin, -edit and -view.

Each is an aggregate, so that a component adds its rights by labelling a ClusterRole of its own;
the names and labels are upstream's (``common/kubeflow-roles``).
"""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CLUSTER_ROLES

__all__ = ["cluster_roles"]

_LABEL: Final = "rbac.authorization.kubeflow.org/aggregate-to-kubeflow-"
_GROUPS: Final = (
    "argoproj.io", "kubeflow.org", "pipelines.kubeflow.org", "serving.kserve.io",
    "serving.kubeflow.org", "trainer.kubeflow.org", "tensorboard.kubeflow.org",
)  # fmt: skip
_BUILTIN: Final = ("", "apps", "batch", "autoscaling", "networking.k8s.io", "policy")
_READ: Final = ("get", "list", "watch")
_WRITE: Final = ("create", "delete", "deletecollection", "patch", "update")


def cluster_roles() -> list[Obj]:
    """The three roles and the rights that make them."""
    return [
        _aggregate("admin", "admin"),
        _aggregate("edit", "edit"),
        _aggregate("view", "view"),
        _rights("kubeflow-kubernetes-view", ("view", "edit", "admin"), _READ, _resources(_BUILTIN)),
        _rights("kubeflow-kubernetes-edit", ("edit", "admin"), _WRITE, _resources(_BUILTIN)),
        _rights("kubeflow-components-view", ("view", "edit", "admin"), _READ, _all(_GROUPS)),
        _rights("kubeflow-components-edit", ("edit", "admin"), _WRITE, _all(_GROUPS)),
        _rights(
            "kubeflow-kubernetes-admin",
            ("admin",),
            (*_READ, *_WRITE),
            [(["rbac.authorization.k8s.io"], ["roles", "rolebindings"])],
        ),
    ]


def _aggregate(role: str, label: str) -> Obj:
    selector = {"matchLabels": {f"{_LABEL}{label}": "true"}}
    return new_object(
        CLUSTER_ROLES,
        f"kubeflow-{role}",
        aggregationRule={"clusterRoleSelectors": [selector]},
        rules=[],
    )


def _rights(
    name: str,
    roles: tuple[str, ...],
    verbs: tuple[str, ...],
    resources: list[tuple[list[str], list[str]]],
) -> Obj:
    rules = [
        {"apiGroups": groups, "resources": plurals, "verbs": list(verbs)}
        for groups, plurals in resources
    ]
    labels = {f"{_LABEL}{role}": "true" for role in roles}
    return new_object(CLUSTER_ROLES, name, labels=labels, rules=rules)


def _resources(groups: tuple[str, ...]) -> list[tuple[list[str], list[str]]]:
    core = [
        "configmaps", "endpoints", "events", "persistentvolumeclaims", "pods", "pods/log",
        "pods/exec", "pods/portforward", "pods/status", "secrets", "serviceaccounts", "services",
        "resourcequotas", "limitranges",
    ]  # fmt: skip
    return [([""], core), ([group for group in groups if group], ["*"])]


def _all(groups: tuple[str, ...]) -> list[tuple[list[str], list[str]]]:
    return [(list(groups), ["*"])]
