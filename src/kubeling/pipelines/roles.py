"""What people of a profile may do with pipelines: upstream's verbs, which are no Kubernetes verbs.

Upstream: ``base/installs/multi-user/view-edit-cluster-roles.yaml``. The labels add the rights to
the roles that profiles give, kubeflow-admin, -edit and -view.
"""

from __future__ import annotations

from typing import Final

from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CLUSTER_ROLES

__all__ = ["cluster_roles"]

_LABEL: Final = "rbac.authorization.kubeflow.org/aggregate-to-kubeflow-"
_GROUP: Final = "pipelines.kubeflow.org"
_WRITING: Final = {
    ("pipelines", "pipelineversions"): ("create", "delete", "update"),
    ("experiments",): ("archive", "create", "delete", "unarchive"),
    ("runs",): (
        "archive", "create", "delete", "readArtifact", "reportMetrics", "retry", "terminate",
        "unarchive", "update",
    ),
    ("jobs",): ("create", "delete", "disable", "enable"),
}  # fmt: skip
_READING: Final = {
    ("pipelines", "pipelineversions", "experiments", "jobs"): ("get", "list"),
    ("runs",): ("get", "list", "readArtifact"),
    ("visualizations",): ("create",),
}


def cluster_roles() -> list[Obj]:
    """The two roles."""
    viewers = _rule("kubeflow.org", ("viewers",), ("create", "get", "delete"))
    reading = [_rule(_GROUP, names, verbs) for names, verbs in _READING.items()]
    writing = [_rule(_GROUP, names, verbs) for names, verbs in _WRITING.items()]
    return [
        _role("kubeflow-pipelines-view", ("view", "edit", "admin"), [*reading, viewers]),
        _role("kubeflow-pipelines-edit", ("edit", "admin"), writing),
    ]


def _rule(group: str, resources: tuple[str, ...], verbs: tuple[str, ...]) -> Obj:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


def _role(name: str, given_to: tuple[str, ...], rules: list[Obj]) -> Obj:
    labels = {f"{_LABEL}{role}": "true" for role in given_to}
    return new_object(CLUSTER_ROLES, name, labels=labels, rules=rules)
