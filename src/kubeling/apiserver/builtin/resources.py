"""The resources Kubernetes itself serves, as discovery lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kubeling.kube.resources import Resource

__all__ = ["BUILTIN_RESOURCES", "BuiltinResource"]

_PACKAGES: Final = {
    "": "io.k8s.api.core",
    "apps": "io.k8s.api.apps",
    "batch": "io.k8s.api.batch",
    "autoscaling": "io.k8s.api.autoscaling",
    "policy": "io.k8s.api.policy",
    "rbac.authorization.k8s.io": "io.k8s.api.rbac",
    "networking.k8s.io": "io.k8s.api.networking",
    "storage.k8s.io": "io.k8s.api.storage",
    "coordination.k8s.io": "io.k8s.api.coordination",
    "discovery.k8s.io": "io.k8s.api.discovery",
    "events.k8s.io": "io.k8s.api.events",
    "scheduling.k8s.io": "io.k8s.api.scheduling",
    "node.k8s.io": "io.k8s.api.node",
    "certificates.k8s.io": "io.k8s.api.certificates",
    "authentication.k8s.io": "io.k8s.api.authentication",
    "authorization.k8s.io": "io.k8s.api.authorization",
    "admissionregistration.k8s.io": "io.k8s.api.admissionregistration",
    "flowcontrol.apiserver.k8s.io": "io.k8s.api.flowcontrol",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
    "metrics.k8s.io": "io.k8s.metrics.pkg.apis.metrics",
}


@dataclass(frozen=True, slots=True)
class BuiltinResource:
    """A built-in resource: ``definition`` is the full name of its type.

    ``create_only`` resources are questions (reviews): nothing is stored.
    """

    resource: Resource
    definition: str
    subresources: tuple[str, ...] = ()
    create_only: bool = False


def _of(
    group: str,
    version: str,
    kind: str,
    plural: str,
    short: str = "",
    *,
    sub: str = "",
    cluster: bool = False,
    categories: tuple[str, ...] = (),
    create_only: bool = False,
) -> BuiltinResource:
    resource = Resource(group, version, kind, plural, not cluster, tuple(short.split()), categories)
    definition = f"{_PACKAGES[group]}.{version}.{kind}"
    return BuiltinResource(resource, definition, tuple(sub.split()), create_only)


_ALL: Final = ("all",)
_RBAC: Final = "rbac.authorization.k8s.io"
_AUTHZ: Final = "authorization.k8s.io"
_POD_SUB: Final = (
    "status log exec attach portforward proxy binding eviction ephemeralcontainers resize"
)

BUILTIN_RESOURCES: Final = (
    _of("", "v1", "Namespace", "namespaces", "ns", cluster=True, sub="status finalize"),
    _of("", "v1", "Node", "nodes", "no", cluster=True, sub="status proxy"),
    _of("", "v1", "Pod", "pods", "po", sub=_POD_SUB, categories=_ALL),
    _of("", "v1", "Service", "services", "svc", sub="status proxy", categories=_ALL),
    _of("", "v1", "Endpoints", "endpoints", "ep"),
    _of("", "v1", "ConfigMap", "configmaps", "cm"),
    _of("", "v1", "Secret", "secrets"),
    _of("", "v1", "ServiceAccount", "serviceaccounts", "sa", sub="token"),
    _of("", "v1", "Event", "events", "ev"),
    _of("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", sub="status"),
    _of("", "v1", "PersistentVolume", "persistentvolumes", "pv", cluster=True, sub="status"),
    _of("", "v1", "ResourceQuota", "resourcequotas", "quota", sub="status"),
    _of("", "v1", "LimitRange", "limitranges", "limits"),
    _of("", "v1", "PodTemplate", "podtemplates"),
    _of(
        "", "v1", "ReplicationController", "replicationcontrollers", "rc", sub="status scale",
        categories=_ALL,
    ),
    _of("apps", "v1", "Deployment", "deployments", "deploy", sub="status scale", categories=_ALL),
    _of("apps", "v1", "ReplicaSet", "replicasets", "rs", sub="status scale", categories=_ALL),
    _of("apps", "v1", "StatefulSet", "statefulsets", "sts", sub="status scale", categories=_ALL),
    _of("apps", "v1", "DaemonSet", "daemonsets", "ds", sub="status", categories=_ALL),
    _of("apps", "v1", "ControllerRevision", "controllerrevisions"),
    _of("batch", "v1", "Job", "jobs", sub="status", categories=_ALL),
    _of("batch", "v1", "CronJob", "cronjobs", "cj", sub="status", categories=_ALL),
    _of(
        "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "hpa",
        sub="status", categories=_ALL,
    ),
    _of(
        "autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "hpa",
        sub="status", categories=_ALL,
    ),
    _of("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", sub="status"),
    _of(_RBAC, "v1", "Role", "roles"),
    _of(_RBAC, "v1", "RoleBinding", "rolebindings"),
    _of(_RBAC, "v1", "ClusterRole", "clusterroles", cluster=True),
    _of(_RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", cluster=True),
    _of("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", "netpol"),
    _of("networking.k8s.io", "v1", "Ingress", "ingresses", "ing", sub="status"),
    _of("networking.k8s.io", "v1", "IngressClass", "ingressclasses", cluster=True),
    _of("storage.k8s.io", "v1", "StorageClass", "storageclasses", "sc", cluster=True),
    _of(
        "storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses", "vac",
        cluster=True,
    ),
    _of("storage.k8s.io", "v1", "CSIDriver", "csidrivers", cluster=True),
    _of("storage.k8s.io", "v1", "CSINode", "csinodes", cluster=True),
    _of("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities"),
    _of(
        "storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", cluster=True,
        sub="status",
    ),
    _of("coordination.k8s.io", "v1", "Lease", "leases"),
    _of("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    _of("events.k8s.io", "v1", "Event", "events", "ev"),
    _of("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "pc", cluster=True),
    _of("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", cluster=True),
    _of(
        "certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests",
        "csr", cluster=True, sub="status approval",
    ),
    _of(
        "flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", cluster=True,
        sub="status",
    ),
    _of(
        "flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration",
        "prioritylevelconfigurations", cluster=True, sub="status",
    ),
    _of(
        "admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations", cluster=True,
    ),
    _of(
        "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations", cluster=True,
    ),
    _of(
        "admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicy",
        "mutatingadmissionpolicies", cluster=True,
    ),
    _of(
        "admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBinding",
        "mutatingadmissionpolicybindings", cluster=True,
    ),
    _of(
        "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies", cluster=True, sub="status",
    ),
    _of(
        "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings", cluster=True,
    ),
    _of(
        "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions",
        "crd crds", cluster=True, sub="status",
    ),
    _of(
        "apiregistration.k8s.io", "v1", "APIService", "apiservices", cluster=True, sub="status",
        categories=("api-extensions",),
    ),
    _of(
        "authentication.k8s.io", "v1", "TokenReview", "tokenreviews", cluster=True,
        create_only=True,
    ),
    _of(
        "authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", cluster=True,
        create_only=True,
    ),
    _of(
        _AUTHZ, "v1", "SubjectAccessReview", "subjectaccessreviews", cluster=True,
        create_only=True,
    ),
    _of(
        _AUTHZ, "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", cluster=True,
        create_only=True,
    ),
    _of(
        _AUTHZ, "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", cluster=True,
        create_only=True,
    ),
    _of(_AUTHZ, "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", create_only=True),
)  # fmt: skip
