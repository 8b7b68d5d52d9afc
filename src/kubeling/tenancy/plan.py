"""What a profile's namespace holds: a pure function of the profile."""

from __future__ import annotations

from typing import Final

import msgspec

from kubeling.kube import objects
from kubeling.kube.objects import Obj, name, new_object, owner_reference
from kubeling.kube.resources import (
    NAMESPACES,
    RESOURCE_QUOTAS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    Resource,
)
from kubeling.tenancy.resources import ProfileSpec

__all__ = ["OWNER", "QUOTA", "contents", "is_foreign", "namespace_of"]

OWNER: Final = "owner"
QUOTA: Final = "kf-resource-quota"
_RBAC: Final = "rbac.authorization.k8s.io"
_LABELS: Final = {
    "app.kubernetes.io/part-of": "kubeflow-profile",
    "katib.kubeflow.org/metrics-collector-injection": "enabled",
    "pipelines.kubeflow.org/enabled": "true",
    "serving.kubeflow.org/inferenceservice": "enabled",
}


def namespace_of(profile: Obj) -> Obj:
    """The namespace, annotated with its owner and owned by the profile."""
    spec = msgspec.convert(profile["spec"], ProfileSpec)
    namespace = new_object(
        NAMESPACES, name(profile), labels=_LABELS, annotations={OWNER: spec.owner.name}
    )
    namespace["metadata"]["ownerReferences"] = [owner_reference(profile)]
    return namespace


def is_foreign(profile: Obj, namespace: Obj) -> bool:
    """Whether an existing namespace belongs to someone else."""
    spec = msgspec.convert(profile["spec"], ProfileSpec)
    return objects.annotations(namespace).get(OWNER) != spec.owner.name


def contents(profile: Obj) -> list[tuple[Resource, Obj]]:
    """Service accounts, bindings and quota."""
    spec = msgspec.convert(profile["spec"], ProfileSpec)
    where = name(profile)
    found: list[tuple[Resource, Obj]] = []
    for account, role in (("default-editor", "edit"), ("default-viewer", "view")):
        found.append(
            (SERVICE_ACCOUNTS, new_object(SERVICE_ACCOUNTS, account, where, owner=profile))
        )
        subject = {"kind": "ServiceAccount", "name": account, "namespace": where}
        found.append((ROLE_BINDINGS, _binding(profile, account, role, subject)))
    owner = msgspec.to_builtins(spec.owner)
    if spec.owner.kind != "ServiceAccount":
        owner["apiGroup"] = _RBAC
    admin = _binding(profile, "namespaceAdmin", "admin", owner)
    admin["metadata"]["annotations"] = {"user": spec.owner.name, "role": "admin"}
    found.append((ROLE_BINDINGS, admin))
    if spec.resource_quota_spec is not None and spec.resource_quota_spec.hard:
        quota = new_object(RESOURCE_QUOTAS, QUOTA, where, owner=profile)
        quota["spec"] = msgspec.to_builtins(spec.resource_quota_spec)
        found.append((RESOURCE_QUOTAS, quota))
    return found


def _binding(profile: Obj, binding: str, role: str, subject: Obj) -> Obj:
    return new_object(
        ROLE_BINDINGS,
        binding,
        name(profile),
        owner=profile,
        roleRef={"apiGroup": _RBAC, "kind": "ClusterRole", "name": f"kubeflow-{role}"},
        subjects=[subject],
    )
