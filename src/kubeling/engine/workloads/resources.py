"""The kinds these controllers walk over, and finding the resource of a kind by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj
from kubeling.kube.resources import (
    BUILTIN,
    CUSTOM_RESOURCE_DEFINITIONS,
    EVENTS,
    POD_METRICS,
    SUBJECT_ACCESS_REVIEWS,
    TOKEN_REVIEWS,
    Resource,
)

__all__ = [
    "CONTROLLER_REVISIONS",
    "OBJECT_KINDS",
    "POD_DISRUPTION_BUDGETS",
    "REPLICATION_CONTROLLERS",
    "known_resources",
    "resource_of_definition",
    "resource_of_kind",
]

CONTROLLER_REVISIONS: Final = Resource("apps", "v1", "ControllerRevision", "controllerrevisions")
POD_DISRUPTION_BUDGETS: Final = Resource(
    "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, ("pdb",)
)
REPLICATION_CONTROLLERS: Final = Resource(
    "", "v1", "ReplicationController", "replicationcontrollers", True, ("rc",)
)
_OTHERS: Final = (
    CONTROLLER_REVISIONS,
    POD_DISRUPTION_BUDGETS,
    REPLICATION_CONTROLLERS,
    Resource("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities"),
    Resource("", "v1", "PodTemplate", "podtemplates"),
    Resource("networking.k8s.io", "v1", "Ingress", "ingresses", True, ("ing",)),
    Resource("networking.k8s.io", "v1", "IngressClass", "ingressclasses", False),
    Resource("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", False),
    Resource("apiregistration.k8s.io", "v1", "APIService", "apiservices", False),
    *(
        Resource("admissionregistration.k8s.io", "v1", kind, plural, False)
        for kind, plural in (
            ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
            ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
            ("MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
            ("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings"),
            ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
            ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
        )
    ),
)
_NOT_STORED: Final = (EVENTS, POD_METRICS, SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS)

OBJECT_KINDS: Final = (*(r for r in BUILTIN if r not in _NOT_STORED), *_OTHERS)
"""The built-in kinds that may own or be owned; events are left to their own expiry."""


def resource_of_definition(crd: Obj) -> Resource | None:
    """The resource a definition makes the server store, once it is established."""
    spec: dict[str, Any] = crd["spec"]
    stored = next((v["name"] for v in spec["versions"] if v.get("storage")), None)
    if stored is None:
        return None
    names = spec["names"]
    return Resource(
        spec["group"],
        stored,
        names["kind"],
        names["plural"],
        spec.get("scope") == "Namespaced",
        tuple(names.get("shortNames") or ()),
        tuple(names.get("categories") or ()),
    )


def known_resources(informers: Informers) -> Iterator[Resource]:
    """The built-in kinds and those that are defined at this moment."""
    yield from OBJECT_KINDS
    for crd in informers.of(CUSTOM_RESOURCE_DEFINITIONS).list():
        if (resource := resource_of_definition(crd)) is not None:
            yield resource


def resource_of_kind(informers: Informers, api_version: str, kind: str) -> Resource | None:
    """The resource behind a reference such as ``apps/v1`` ``Deployment``; any served version."""
    group, _, version = api_version.rpartition("/")
    for resource in OBJECT_KINDS:
        if resource.group == group and resource.kind == kind:
            return resource
    for crd in informers.of(CUSTOM_RESOURCE_DEFINITIONS).list():
        spec = crd["spec"]
        if spec["group"] != group or spec["names"]["kind"] != kind:
            continue
        if any(v["name"] == version and v.get("served", True) for v in spec["versions"]):
            return Resource(
                group, version, kind, spec["names"]["plural"], spec.get("scope") == "Namespaced"
            )
    return None
