"""Those whom policies are about: the pods with an address of their own, and the name server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kubeling.engine.netpolicy.spans import number_of
from kubeling.kube.objects import Obj, labels, namespace

__all__ = ["Member", "name_server", "pod_member"]

_DNS_NAMESPACE: Final = "kube-system"
_DNS_LABELS: Final = {"k8s-app": "kube-dns"}
_DNS_PORTS: Final = {("UDP", "dns"): 53, ("TCP", "dns-tcp"): 53}


@dataclass(frozen=True, slots=True)
class Member:
    """One pod as policies see it; ``ports`` are its named ones, by protocol and name."""

    namespace: str
    labels: Mapping[str, str]
    address: int
    ports: Mapping[tuple[str, str], int] = field(default_factory=dict)


def pod_member(pod: Obj, address: str) -> Member:
    spec = pod.get("spec") or {}
    named = {
        (port.get("protocol") or "TCP", str(port["name"])): int(port["containerPort"])
        for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        for port in container.get("ports") or ()
        if port.get("name")
    }
    return Member(namespace(pod), labels(pod), number_of(address), named)


def name_server(address: str) -> Member:
    """The platform's name server under the names that a cluster's has, which policies use."""
    return Member(_DNS_NAMESPACE, _DNS_LABELS, number_of(address), _DNS_PORTS)
