"""From Services and EndpointSlices to what is listened on and where it leads. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kubeling.kube.objects import Obj

__all__ = [
    "SERVICE_LABEL",
    "Address",
    "Frontend",
    "affinity_seconds",
    "frontends",
    "routes_of",
]

SERVICE_LABEL = "kubernetes.io/service-name"

_AFFINITY_SECONDS = 3 * 60 * 60

Address = tuple[str, int]


class Frontend(NamedTuple):
    """One place that is listened on."""

    protocol: str
    host: str
    port: int


def frontends(service: Obj, node_addresses: Iterable[str]) -> Mapping[Frontend, str]:
    """Where a Service is listened for, with the name of its port; none for headless ones."""
    spec = service["spec"]
    cluster_ip = spec.get("clusterIP")
    if spec.get("type") == "ExternalName" or cluster_ip in (None, "", "None"):
        return {}
    found = {}
    for port in spec.get("ports") or ():
        protocol, title = port.get("protocol") or "TCP", port.get("name") or ""
        for host in [cluster_ip, *(spec.get("externalIPs") or ())]:
            found[Frontend(protocol, host, int(port["port"]))] = title
        if number := port.get("nodePort"):
            for host in node_addresses:
                found[Frontend(protocol, host, int(number))] = title
    return found


def affinity_seconds(service: Obj) -> float:
    """How long a caller keeps the pod it was led to; 0 where any will do."""
    spec = service["spec"]
    if spec.get("sessionAffinity") != "ClientIP":
        return 0.0
    settings = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return float(settings.get("timeoutSeconds") or _AFFINITY_SECONDS)


def routes_of(
    service: Obj, slices: Iterable[Obj], node_addresses: Iterable[str]
) -> dict[Frontend, tuple[Address, ...]]:
    """Each place of a Service and the ready endpoints behind it."""
    behind: dict[tuple[str, str], list[Address]] = {}
    for found in slices:
        ready = [
            address
            for endpoint in found.get("endpoints") or ()
            if (endpoint.get("conditions") or {}).get("ready", True)
            for address in endpoint["addresses"]
        ]
        for port in found.get("ports") or ():
            key = (port.get("protocol") or "TCP", port.get("name") or "")
            behind.setdefault(key, []).extend((address, int(port["port"])) for address in ready)
    return {
        place: tuple(sorted(behind.get((place.protocol, title), ())))
        for place, title in frontends(service, node_addresses).items()
    }
