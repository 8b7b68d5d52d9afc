"""Rules of Services (upstream's ``ValidateService`` and what its allocators refuse)."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from kubeling.apiserver.names import label_errors
from kubeling.apiserver.validation.containers import PROTOCOLS
from kubeling.apiserver.validation.rules import (
    Errors,
    choice,
    dns_label,
    dns_subdomain,
    frozen,
    port_name,
    port_number,
    required,
    spec_of,
)
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["is_address", "not_an_address", "service", "target_port"]

_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_TRAFFIC: Final = ("Cluster", "Local")
_FAMILY_POLICIES: Final = ("PreferDualStack", "RequireDualStack", "SingleStack")
_LONGEST_AFFINITY: Final = 86400
_OF_BALANCERS: Final = (
    "allocateLoadBalancerNodePorts", "loadBalancerClass", "loadBalancerSourceRanges",
)  # fmt: skip


def service(new: Obj, old: Obj | None) -> Errors:
    spec = spec_of(new)
    kind = spec.get("type", "ClusterIP")
    yield from choice(spec, "spec", "type", _TYPES)
    yield from _affinity(spec)
    yield from label_errors(spec.get("selector") or {}, "spec.selector")
    yield from _address(spec, spec_of(old), kind)
    yield from _families(spec)
    yield from _ports(spec, kind)
    yield from _from_outside(spec, kind)
    if old is not None and spec_of(old).get("type") == kind == "LoadBalancer":
        yield from frozen(spec, spec_of(old), "spec", "loadBalancerClass")


def target_port(port: Any, path: str) -> Errors:
    """A port of a pod: by number or name."""
    if isinstance(port, str):
        yield from port_name(port, path)
    elif port is not None:
        yield from port_number(port, path)


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def not_an_address(path: str, value: str) -> FieldError:
    message = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    return FieldError(path, "Invalid value", message, value)


def _affinity(spec: Obj) -> Errors:
    yield from choice(spec, "spec", "sessionAffinity", ("ClientIP", "None"))
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    seconds = config.get("timeoutSeconds")
    if seconds is not None and not 0 < seconds <= _LONGEST_AFFINITY:
        path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        message = f"must be greater than 0 and less than {_LONGEST_AFFINITY}"
        yield FieldError(path, "Invalid value", message, seconds)


def _address(spec: Obj, old: Obj, kind: str) -> Errors:
    address, before = spec.get("clusterIP"), old.get("clusterIP")
    path = "spec.clusterIPs[0]"
    if kind == "ExternalName":
        yield from required(spec, "spec", "externalName")
        if name := spec.get("externalName"):
            yield from dns_subdomain(name.removesuffix("."), "spec.externalName")
        if address:
            message = "may not be set for ExternalName services"
            yield FieldError(path, "Invalid value", message, address)
        return
    if address == "None" and kind != "ClusterIP":
        message = f"may not be set to 'None' for {kind} services"
        yield FieldError("spec.clusterIPs[0]", "Invalid value", message, "None")
    elif address and address != "None" and not is_address(address):
        yield not_an_address(path, address)
    if before and before != address:
        yield FieldError(path, "Invalid value", "may not change once set", address)


def _families(spec: Obj) -> Errors:
    """Pods have IPv4 addresses, so Services do."""
    yield from choice(spec, "spec", "ipFamilyPolicy", _FAMILY_POLICIES)
    if spec.get("ipFamilyPolicy") == "RequireDualStack":
        message = "this cluster is not configured for dual-stack services"
        yield FieldError("spec.ipFamilyPolicy", "Invalid value", message, "RequireDualStack")
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        path = f"spec.ipFamilies[{index}]"
        if family not in ("IPv4", "IPv6"):
            message = 'supported values: "IPv4", "IPv6"'
            yield FieldError(path, "Unsupported value", message, family)
        elif family == "IPv6":
            yield FieldError(path, "Invalid value", "not configured on this cluster", family)


def _ports(spec: Obj, kind: str) -> Errors:
    ports = spec.get("ports") or []
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        yield FieldError("spec.ports", "Required value", "")
    names: set[str] = set()
    taken: set[tuple[Any, Any]] = set()
    on_nodes: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        yield from port_number(port.get("port", 0), f"{path}.port")
        yield from choice(port, path, "protocol", PROTOCOLS)
        yield from target_port(port.get("targetPort"), f"{path}.targetPort")
        name = port.get("name")
        if name:
            yield from dns_label(name, f"{path}.name")
        elif len(ports) > 1:
            yield FieldError(f"{path}.name", "Required value", "")
        if name and name in names:
            yield FieldError(f"{path}.name", "Duplicate value", "", name)
        protocol = port.get("protocol", "TCP")
        place = (protocol, port.get("port"))
        if place in taken:
            value = {"protocol": place[0], "port": place[1]}
            yield FieldError(path, "Duplicate value", "", value)
        if number := port.get("nodePort"):
            where = f"{path}.nodePort"
            if kind in ("ClusterIP", "ExternalName"):
                message = f"may not be used when `type` is '{kind}'"
                yield FieldError(where, "Forbidden", message)
            elif (protocol, number) in on_nodes:
                yield FieldError(where, "Duplicate value", "", number)
            on_nodes.add((protocol, number))
        names.add(name or "")
        taken.add(place)


def _from_outside(spec: Obj, kind: str) -> Errors:
    yield from choice(spec, "spec", "internalTrafficPolicy", _TRAFFIC)
    yield from choice(spec, "spec", "externalTrafficPolicy", _TRAFFIC)
    external = kind in ("NodePort", "LoadBalancer") or bool(spec.get("externalIPs"))
    if (policy := spec.get("externalTrafficPolicy")) and not external:
        message = "may only be set for externally-accessible services"
        yield FieldError("spec.externalTrafficPolicy", "Invalid value", message, policy)
    for index, address in enumerate(spec.get("externalIPs") or ()):
        yield from _external_address(address, f"spec.externalIPs[{index}]")
    if kind != "LoadBalancer":
        for field in _OF_BALANCERS:
            if spec.get(field) is not None:
                message = "may only be used when `type` is 'LoadBalancer'"
                yield FieldError(f"spec.{field}", "Forbidden", message)
    for index, block in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        try:
            ipaddress.ip_network(block.strip(), strict=False)
        except ValueError:
            path = f"spec.loadBalancerSourceRanges[{index}]"
            message = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            yield FieldError(path, "Invalid value", message, block)


def _external_address(text: str, path: str) -> Errors:
    if not is_address(text):
        yield not_an_address(path, text)
        return
    address = ipaddress.ip_address(text)
    if address.is_unspecified:
        yield FieldError(path, "Invalid value", f"may not be unspecified ({address})", text)
    elif address.is_loopback:
        message = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
        yield FieldError(path, "Invalid value", message, text)
    elif address.is_link_local:
        message = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
        yield FieldError(path, "Invalid value", message, text)
    elif address.is_multicast:
        message = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        yield FieldError(path, "Invalid value", message, text)
