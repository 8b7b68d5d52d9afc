"""Names of resources: how a kind is spelled in objects and in paths.

A :class:`Resource` is all a client needs to address a kind; nothing is discovered at run time.
Component rooms declare their own in their ``resources.py``; the built-in ones are here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["BUILTIN", "Resource"]


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the API: ``group`` is empty for the core group."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """``group/version``, or the bare version for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """``plural.group``, as kubectl and CRD names spell it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def singular(self) -> str:
        return self.kind.lower()

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path; without a namespace a namespaced collection spans all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def __str__(self) -> str:
        return self.qualified


def _core(kind: str, plural: str, *short: str, namespaced: bool = True) -> Resource:
    return Resource("", "v1", kind, plural, namespaced, short)


PODS: Final = _core("Pod", "pods", "po")
SERVICES: Final = _core("Service", "services", "svc")
ENDPOINTS: Final = _core("Endpoints", "endpoints", "ep")
CONFIG_MAPS: Final = _core("ConfigMap", "configmaps", "cm")
SECRETS: Final = _core("Secret", "secrets")
EVENTS: Final = _core("Event", "events", "ev")
NAMESPACES: Final = _core("Namespace", "namespaces", "ns", namespaced=False)
NODES: Final = _core("Node", "nodes", "no", namespaced=False)
SERVICE_ACCOUNTS: Final = _core("ServiceAccount", "serviceaccounts", "sa")
PERSISTENT_VOLUME_CLAIMS: Final = _core("PersistentVolumeClaim", "persistentvolumeclaims", "pvc")
PERSISTENT_VOLUMES: Final = _core("PersistentVolume", "persistentvolumes", "pv", namespaced=False)
RESOURCE_QUOTAS: Final = _core("ResourceQuota", "resourcequotas", "quota")
LIMIT_RANGES: Final = _core("LimitRange", "limitranges", "limits")
DEPLOYMENTS: Final = Resource("apps", "v1", "Deployment", "deployments", True, ("deploy",))
REPLICA_SETS: Final = Resource("apps", "v1", "ReplicaSet", "replicasets", True, ("rs",))
STATEFUL_SETS: Final = Resource("apps", "v1", "StatefulSet", "statefulsets", True, ("sts",))
DAEMON_SETS: Final = Resource("apps", "v1", "DaemonSet", "daemonsets", True, ("ds",))
JOBS: Final = Resource("batch", "v1", "Job", "jobs")
CRON_JOBS: Final = Resource("batch", "v1", "CronJob", "cronjobs", True, ("cj",))
HORIZONTAL_POD_AUTOSCALERS: Final = Resource(
    "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True, ("hpa",)
)
LEASES: Final = Resource("coordination.k8s.io", "v1", "Lease", "leases")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
NETWORK_POLICIES: Final = Resource(
    "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True, ("netpol",)
)
FLOW_SCHEMAS: Final = Resource(
    "flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", False
)
PRIORITY_LEVELS: Final = Resource(
    "flowcontrol.apiserver.k8s.io",
    "v1",
    "PriorityLevelConfiguration",
    "prioritylevelconfigurations",
    False,
)
PRIORITY_CLASSES: Final = Resource(
    "scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False, ("pc",)
)
STORAGE_CLASSES: Final = Resource(
    "storage.k8s.io", "v1", "StorageClass", "storageclasses", False, ("sc",)
)
ROLES: Final = Resource("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDINGS: Final = Resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
CLUSTER_ROLES: Final = Resource(
    "rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", False
)
CLUSTER_ROLE_BINDINGS: Final = Resource(
    "rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", False
)
CUSTOM_RESOURCE_DEFINITIONS: Final = Resource(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    False,
    ("crd", "crds"),
)
SUBJECT_ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", False
)
TOKEN_REVIEWS: Final = Resource("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", False)
POD_METRICS: Final = Resource("metrics.k8s.io", "v1beta1", "PodMetrics", "pods")

BUILTIN: Final = tuple(value for value in list(globals().values()) if isinstance(value, Resource))
