"""The roles and bindings every cluster has from the start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kubeling.kube.objects import Obj
from kubeling.kube.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, Resource

__all__ = ["bootstrap_roles"]

_READ: Final = ["get", "list", "watch"]
_WRITE: Final = ["create", "delete", "deletecollection", "patch", "update"]
_RBAC: Final = "rbac.authorization.k8s.io"
_AUTHORIZATION: Final = "authorization.k8s.io"
_AUTHENTICATION: Final = "authentication.k8s.io"
_AGGREGATE: Final = f"{_RBAC}/aggregate-to-"
_CERTIFICATES: Final = "certificates.k8s.io"
_SIGNERS: Final = ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving")
_BOOTSTRAPPING: Final = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_UPDATED: Final = {"rbac.authorization.kubernetes.io/autoupdate": "true"}

_WORKLOADS: Final = (
    (
        "",
        "configmaps persistentvolumeclaims pods replicationcontrollers "
        "replicationcontrollers/scale services",
    ),
    ("apps", "daemonsets deployments deployments/scale replicasets replicasets/scale "
             "statefulsets statefulsets/scale"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("batch", "cronjobs jobs"),
    ("networking.k8s.io", "ingresses networkpolicies"),
    ("policy", "poddisruptionbudgets"),
)  # fmt: skip
_VIEWED: Final = (
    ("", "bindings endpoints events limitranges namespaces namespaces/status pods/log pods/status "
         "persistentvolumeclaims/status replicationcontrollers/status resourcequotas "
         "resourcequotas/status serviceaccounts services/status"),
    ("apps", "controllerrevisions daemonsets/status deployments/status replicasets/status "
             "statefulsets/status"),
    ("autoscaling", "horizontalpodautoscalers/status"),
    ("batch", "cronjobs/status jobs/status"),
    ("discovery.k8s.io", "endpointslices"),
    ("events.k8s.io", "events"),
    ("networking.k8s.io", "ingresses/status"),
    ("policy", "poddisruptionbudgets/status"),
    ("metrics.k8s.io", "pods nodes"),
)  # fmt: skip


def bootstrap_roles() -> Iterator[tuple[Resource, Obj]]:
    """The built-in cluster roles, and the bindings that give everyone the basics."""
    yield from _user_roles()
    yield from _basics()
    yield from _services()


def _user_roles() -> Iterator[tuple[Resource, Obj]]:
    everything = [_rule(["*"], "*", "*"), {"verbs": ["*"], "nonResourceURLs": ["*"]}]
    yield _role("cluster-admin", everything)
    for name in ("admin", "edit", "view"):
        yield _aggregated(name)
    yield _role("system:aggregate-to-view", _view_rules(), "view")
    yield _role("system:aggregate-to-edit", _edit_rules(), "edit")
    yield _role("system:aggregate-to-admin", _admin_rules(), "admin")
    yield _binding("cluster-admin", "cluster-admin", "system:masters")


def _view_rules() -> list[Obj]:
    return [_rule(_READ, group, names) for group, names in (*_WORKLOADS, *_VIEWED)]


def _edit_rules() -> list[Obj]:
    return [
        *(_rule(_WRITE, group, names) for group, names in _WORKLOADS),
        _rule([*_READ, *_WRITE], "", "secrets serviceaccounts"),
        _rule([*_READ, *_WRITE], "", "pods/attach pods/exec pods/portforward pods/proxy "
                                     "services/proxy"),
        _rule(["create"], "", "pods/eviction"),
        _rule(["create"], "", "serviceaccounts/token"),
        _rule(["impersonate"], "", "serviceaccounts"),
        _rule([*_READ, *_WRITE], "coordination.k8s.io", "leases"),
        _rule(_WRITE, "", "events"),
        _rule(_WRITE, "events.k8s.io", "events"),
    ]  # fmt: skip


def _admin_rules() -> list[Obj]:
    return [
        _rule(["create"], _AUTHORIZATION, "localsubjectaccessreviews"),
        _rule([*_READ, *_WRITE], _RBAC, "roles rolebindings"),
    ]


def _basics() -> Iterator[tuple[Resource, Obj]]:
    paths = [
        "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/livez/*", "/openapi",
        "/openapi/*", "/readyz", "/readyz/*", "/version", "/version/",
    ]  # fmt: skip
    yield _role("system:discovery", [{"verbs": ["get"], "nonResourceURLs": paths}])
    public = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
    yield _role("system:public-info-viewer", [{"verbs": ["get"], "nonResourceURLs": public}])
    yield _role(
        "system:basic-user",
        [
            _rule(["create"], _AUTHORIZATION, "selfsubjectaccessreviews selfsubjectrulesreviews"),
            _rule(["create"], _AUTHENTICATION, "selfsubjectreviews"),
        ],
    )
    yield _role(
        "system:auth-delegator",
        [
            _rule(["create"], _AUTHENTICATION, "tokenreviews"),
            _rule(["create"], _AUTHORIZATION, "subjectaccessreviews"),
        ],
    )
    yield _binding("system:discovery", "system:discovery", "system:authenticated")
    yield _binding("system:basic-user", "system:basic-user", "system:authenticated")
    yield _binding(
        "system:public-info-viewer",
        "system:public-info-viewer",
        "system:authenticated",
        "system:unauthenticated",
    )


def _services() -> Iterator[tuple[Resource, Obj]]:
    """What programs beside the platform are given: monitoring, token checks, approvals."""
    health = ["/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz", "/readyz/*"]
    yield _role(
        "system:monitoring",
        [
            {"verbs": ["get"], "nonResourceURLs": [*health, "/metrics", "/metrics/slis"]},
            _rule(["get"], "", "nodes/metrics"),
        ],
    )
    yield _binding("system:monitoring", "system:monitoring", "system:monitoring")
    discovery = "system:service-account-issuer-discovery"
    paths = [
        "/.well-known/openid-configuration", "/.well-known/openid-configuration/",
        "/openid/v1/jwks", "/openid/v1/jwks/",
    ]  # fmt: skip
    yield _role(discovery, [{"verbs": ["get"], "nonResourceURLs": paths}])
    yield _binding(discovery, discovery, "system:serviceaccounts")
    for signer in _SIGNERS:
        approve = _rule(["approve"], _CERTIFICATES, "signers")
        approve["resourceNames"] = [f"kubernetes.io/{signer}"]
        yield _role(f"system:{_CERTIFICATES}:{signer}-approver", [approve])


def _rule(verbs: list[str], group: str, resources: str) -> Obj:
    return {"verbs": list(verbs), "apiGroups": [group], "resources": resources.split()}


def _role(name: str, rules: list[Obj], aggregate_to: str = "") -> tuple[Resource, Obj]:
    labels = dict(_BOOTSTRAPPING)
    if aggregate_to:
        labels[_AGGREGATE + aggregate_to] = "true"
    role: Obj = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels, "annotations": dict(_UPDATED)},
        "rules": rules,
    }
    return CLUSTER_ROLES, role


_INCLUDED: Final = {"view": ("view",), "edit": ("edit", "view"), "admin": ("admin", "edit", "view")}


def _aggregated(name: str) -> tuple[Resource, Obj]:
    """``admin`` includes ``edit``, which includes ``view``, by the labels of roles."""
    resource, role = _role(name, [])
    role["aggregationRule"] = {
        "clusterRoleSelectors": [
            {"matchLabels": {_AGGREGATE + included: "true"}} for included in _INCLUDED[name]
        ]
    }
    return resource, role


def _binding(name: str, role: str, *groups: str) -> tuple[Resource, Obj]:
    binding: Obj = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {
            "name": name,
            "labels": dict(_BOOTSTRAPPING),
            "annotations": dict(_UPDATED),
        },
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "Group", "apiGroup": _RBAC, "name": group} for group in groups],
    }
    return CLUSTER_ROLE_BINDINGS, binding
