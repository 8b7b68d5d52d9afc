"""The columns of what connects pods: services, endpoints, ingresses and policies."""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.columns.column import AGE, Columns, computed, get, selector, text
from kubeling.kube.objects import Obj

__all__ = ["NETWORK_COLUMNS"]

_SHOWN: Final = 3


def _service_ports(service: Obj) -> str:
    shown = []
    for port in get(service, "spec", "ports", default=[]):
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or "<none>"


def _load_balancer(obj: Obj) -> list[str]:
    ingresses = get(obj, "status", "loadBalancer", "ingress", default=[])
    return [ingress.get("ip") or ingress.get("hostname") or "" for ingress in ingresses]


def _external_ip(service: Obj) -> str:
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", "<none>"))
    balancing = spec.get("type") == "LoadBalancer"
    found = _load_balancer(service) if balancing else []
    found += spec.get("externalIPs") or []
    return ",".join(found) or ("<pending>" if balancing else "<none>")


def _few(shown: list[str], nothing: str = "<none>") -> str:
    if not shown:
        return nothing
    more = f" + {len(shown) - _SHOWN} more..." if len(shown) > _SHOWN else ""
    return ",".join(shown[:_SHOWN]) + more


def _endpoints(obj: Obj) -> str:
    shown = []
    for subset in obj.get("subsets") or ():
        addresses = [address["ip"] for address in subset.get("addresses") or ()]
        ports = [port["port"] for port in subset.get("ports") or ()]
        shown += [f"{address}:{port}" for port in ports for address in addresses]
        if not ports:
            shown += addresses
    return _few(shown)


def _slice_ports(obj: Obj) -> str:
    return _few([str(port.get("port", "*")) for port in obj.get("ports") or ()], "<unset>")


def _slice_endpoints(obj: Obj) -> str:
    endpoints = obj.get("endpoints") or ()
    return _few([a for e in endpoints for a in e.get("addresses") or ()], "<unset>")


def _hosts(ingress: Obj) -> str:
    rules = get(ingress, "spec", "rules", default=[])
    return _few([rule["host"] for rule in rules if rule.get("host")], "*")


def _ingress_ports(ingress: Obj) -> str:
    return "80, 443" if get(ingress, "spec", "tls", default=[]) else "80"


def _parameters(ingress_class: Obj) -> str:
    found = get(ingress_class, "spec", "parameters", default=None)
    if not found:
        return "<none>"
    group = f".{found['apiGroup']}" if found.get("apiGroup") else ""
    return f"{found.get('kind', '')}{group}/{found.get('name', '')}"


NETWORK_COLUMNS: Final[Columns] = {
    ("", "Service"): (
        text("Type", "spec", "type"),
        text("Cluster-IP", "spec", "clusterIP"),
        computed("External-IP", _external_ip),
        computed("Port(s)", _service_ports),
        AGE,
        computed("Selector", selector("spec", "selector"), 1),
    ),
    ("", "Endpoints"): (computed("Endpoints", _endpoints), AGE),
    ("discovery.k8s.io", "EndpointSlice"): (
        text("AddressType", "addressType"),
        computed("Ports", _slice_ports),
        computed("Endpoints", _slice_endpoints),
        AGE,
    ),
    ("networking.k8s.io", "Ingress"): (
        text("Class", "spec", "ingressClassName"),
        computed("Hosts", _hosts),
        computed("Address", lambda obj: ",".join(_load_balancer(obj))),
        computed("Ports", _ingress_ports),
        AGE,
    ),
    ("networking.k8s.io", "IngressClass"): (
        text("Controller", "spec", "controller", default=""),
        computed("Parameters", _parameters),
        AGE,
    ),
    ("networking.k8s.io", "NetworkPolicy"): (
        computed("Pod-Selector", selector("spec", "podSelector")),
        AGE,
    ),
}
