"""From Services and EndpointSlices to what is listened on and where it leads. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kubeling.kube.objects import Obj

__all__ = [
    "SERVICE_LABEL",
    "Address",
    "Frontend",
    "affinity_seconds",
    "balances",
    "frontends",
    "routes_of",
    "source_ranges",
]

SERVICE_LABEL = "kubernetes.io/service-name"

_AFFINITY_SECONDS = 3 * 60 * 60

Address = tuple[str, int]
_Port = tuple[str, str]


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
        if balances(service):
            for host in node_addresses:
                found[Frontend(protocol, host, int(port["port"]))] = title
    return found


def balances(service: Obj) -> bool:
    """Whether the Service asks for a load balancer, and for no other one than ours."""
    spec = service["spec"]
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass")


def source_ranges(service: Obj, place: Frontend) -> Sequence[ipaddress.IPv4Network]:
    """Whom a load balancer is for, where it is not for all: at its own ports only."""
    spec = service["spec"]
    inside = {spec.get("clusterIP"), *(spec.get("externalIPs") or ())}
    if not balances(service) or place.host in inside:
        return ()
    if place.port not in {port["port"] for port in spec.get("ports") or ()}:
        return ()
    blocks = [ipaddress.ip_network(b.strip(), False) for b in _ranges(spec)]
    return [block for block in blocks if isinstance(block, ipaddress.IPv4Network)]


def _ranges(spec: Obj) -> Sequence[str]:
    return spec.get("loadBalancerSourceRanges") or ()


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
    """Each place of a Service and the endpoints behind it.

    Those are the ready ones or, where there are none, those that end but still serve.
    """
    ready: dict[_Port, set[Address]] = {}
    ending: dict[_Port, set[Address]] = {}
    for found in slices:
        if found.get("addressType", "IPv4") != "IPv4":
            continue
        for port in found.get("ports") or ():
            if port.get("port") is None:
                continue
            key = (port.get("protocol") or "TCP", port.get("name") or "")
            for endpoint in found.get("endpoints") or ():
                conditions = endpoint.get("conditions") or {}
                if conditions.get("ready", True):
                    chosen = ready
                elif conditions.get("serving") and conditions.get("terminating"):
                    chosen = ending
                else:
                    continue
                places = chosen.setdefault(key, set())
                places.update((address, int(port["port"])) for address in endpoint["addresses"])
    return {
        place: tuple(sorted(ready.get((place[0], title)) or ending.get((place[0], title)) or ()))
        for place, title in frontends(service, node_addresses).items()
    }
