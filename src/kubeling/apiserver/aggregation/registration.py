"""The APIServices of what this server answers itself, as ``kubectl get apiservices`` lists them.

Numbers are upstream's (``controlplane/apiserver/aggregator.go``). Whoever gives one of them a
Service takes the group version over, and gives it back by deleting it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from kubeling.apiserver.strategy import Strategy
from kubeling.kube.objects import Obj, labels
from kubeling.kube.resources import Resource

__all__ = [
    "API_SERVICES",
    "ApiServiceStrategy",
    "api_service_name",
    "is_local",
    "is_managed",
    "local_api_service",
]

API_SERVICES: Final = Resource(
    "apiregistration.k8s.io", "v1", "APIService", "apiservices", namespaced=False
)
_MANAGED: Final = "kube-aggregator.kubernetes.io/automanaged"
_GROUPS: Final[Mapping[str, int]] = {
    "": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600, "autoscaling": 17500, "batch": 17400,
    "certificates.k8s.io": 17300, "networking.k8s.io": 17200, "policy": 17100,
    "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800, "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700, "scheduling.k8s.io": 16600,
    "coordination.k8s.io": 16500, "node.k8s.io": 16300, "discovery.k8s.io": 16200,
    "flowcontrol.apiserver.k8s.io": 16100, "metrics.k8s.io": 100, "custom.metrics.k8s.io": 100,
}  # fmt: skip
_VERSIONS: Final[Mapping[tuple[str, str], int]] = {
    ("", "v1"): 1, ("autoscaling", "v2"): 30, ("metrics.k8s.io", "v1beta1"): 100,
    ("custom.metrics.k8s.io", "v1beta2"): 200,
}  # fmt: skip
_BUILTIN_VERSION: Final = 15
_CUSTOM: Final = (1000, 100)


def api_service_name(group: str, version: str) -> str:
    return f"{version}.{group}"


def is_local(api_service: Obj) -> bool:
    """Whether the server itself answers for it."""
    return not (api_service.get("spec") or {}).get("service")


def is_managed(api_service: Obj) -> bool:
    """Whether the server put it there itself."""
    return _MANAGED in labels(api_service)


class ApiServiceStrategy(Strategy):
    """What is local is available from the first, and again once a backend was taken away."""

    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {}
        if is_local(obj):
            obj["status"] = {"conditions": [_available(obj["metadata"]["creationTimestamp"])]}

    def prepare_update(self, new: Obj, old: Obj) -> None:
        if is_local(new) and not is_local(old):
            new["status"] = {"conditions": [_available(new["metadata"]["creationTimestamp"])]}


def local_api_service(group: str, version: str) -> Obj:
    """The APIService of a group version that this server answers for."""
    builtin = group in _GROUPS
    priority = _VERSIONS.get((group, version), _BUILTIN_VERSION)
    minimum, rank = (_GROUPS[group], priority) if builtin else _CUSTOM
    return {
        "apiVersion": API_SERVICES.api_version,
        "kind": API_SERVICES.kind,
        "metadata": {
            "name": api_service_name(group, version),
            "labels": {_MANAGED: "onstart" if builtin else "true"},
        },
        "spec": {**dict(_named(group, version)), "groupPriorityMinimum": minimum,
                 "versionPriority": rank},
    }  # fmt: skip


def _named(group: str, version: str) -> Iterator[tuple[str, str]]:
    if group:
        yield "group", group
    yield "version", version


def _available(since: str) -> Obj:
    return {
        "type": "Available",
        "status": "True",
        "lastTransitionTime": since,
        "reason": "Local",
        "message": "Local APIServices are always available",
    }
