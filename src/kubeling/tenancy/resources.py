"""The Profile kind (kubeflow.org/v1, and v1beta1 beside it)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kubeling.kube.crd import AnyObject, Column, Condition, IntOrString, Version, crd
from kubeling.kube.objects import Obj
from kubeling.kube.resources import Resource

__all__ = ["PROFILES", "ProfileSpec", "crds"]

PROFILES: Final = Resource("kubeflow.org", "v1", "Profile", "profiles", namespaced=False)


class Subject(msgspec.Struct, rename="camel", omit_defaults=True):
    """Who owns the profile: a User, a Group or a ServiceAccount."""

    kind: str
    name: str
    api_group: str = "rbac.authorization.k8s.io"
    namespace: str = ""


class ResourceQuotaSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """What the namespace may use; an empty ``hard`` means no quota."""

    hard: dict[str, IntOrString] = {}
    scopes: list[str] = []
    scope_selector: AnyObject | None = None


class Plugin(msgspec.Struct, rename="camel", omit_defaults=True):
    """A cloud's workload identity, as upstream's plugins."""

    kind: str
    spec: AnyObject | None = None


class ProfileSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """A namespace for its owner."""

    owner: Subject
    resource_quota_spec: ResourceQuotaSpec | None = None
    plugins: list[Plugin] = []


class ProfileStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """What came of it."""

    conditions: list[Condition] = []


def crds() -> list[Obj]:
    """The definitions of this room."""
    columns: list[Any] = [Column("Owner", ".spec.owner.name")]
    versions = [Version("v1beta1")]
    return [crd(PROFILES, ProfileSpec, ProfileStatus, columns=columns, versions=versions)]
