"""Rules of what connects pods."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from kubeling.apiserver.names import label_errors
from kubeling.apiserver.validation.containers import PROTOCOLS
from kubeling.apiserver.validation.policies import network_policy
from kubeling.apiserver.validation.rules import (
    Checks,
    Errors,
    choice,
    dns_label,
    frozen,
    port_name,
    port_number,
    required,
    spec_of,
)
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["NETWORK_RULES"]

_SERVICE_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")


def _service(new: Obj, old: Obj | None) -> Errors:
    spec = spec_of(new)
    kind = spec.get("type", "ClusterIP")
    yield from choice(spec, "spec", "type", _SERVICE_TYPES)
    yield from choice(spec, "spec", "sessionAffinity", ("ClientIP", "None"))
    yield from label_errors(spec.get("selector") or {}, "spec.selector")
    if kind == "ExternalName":
        yield from required(spec, "spec", "externalName")
    elif spec.get("clusterIP") == "None" and kind != "ClusterIP":
        message = f"may not be set to 'None' for {kind} services"
        yield FieldError("spec.clusterIP", "Invalid value", message, "None")
    yield from _cluster_ip(spec, spec_of(old), kind)
    yield from _service_ports(spec, kind)


def _cluster_ip(spec: Obj, old: Obj, kind: str) -> Errors:
    address, before = spec.get("clusterIP"), old.get("clusterIP")
    if address and address != "None" and not _is_address(address):
        message = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        yield FieldError("spec.clusterIPs[0]", "Invalid value", message, address)
    if before and kind != "ExternalName" and before != address:
        message = "may not change once set"
        yield FieldError("spec.clusterIPs[0]", "Invalid value", message, address)


def _service_ports(spec: Obj, kind: str) -> Errors:
    ports = spec.get("ports") or []
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        yield FieldError("spec.ports", "Required value", "")
    names: set[str] = set()
    taken: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        yield from port_number(port.get("port", 0), f"{path}.port")
        yield from choice(port, path, "protocol", PROTOCOLS)
        yield from _target(port.get("targetPort"), f"{path}.targetPort")
        name = port.get("name")
        if name:
            yield from dns_label(name, f"{path}.name")
        elif len(ports) > 1:
            yield FieldError(f"{path}.name", "Required value", "")
        if name and name in names:
            yield FieldError(f"{path}.name", "Duplicate value", "", name)
        place = (port.get("protocol", "TCP"), port.get("port"))
        if place in taken:
            value = {"protocol": place[0], "port": place[1]}
            yield FieldError(path, "Duplicate value", "", value)
        names.add(name or "")
        taken.add(place)


def _target(port: Any, path: str) -> Errors:
    if isinstance(port, str):
        yield from port_name(port, path)
    elif port is not None:
        yield from port_number(port, path)


def _endpoints(new: Obj, old: Obj | None) -> Errors:
    for at, subset in enumerate(new.get("subsets") or ()):
        for field in ("addresses", "notReadyAddresses"):
            for index, address in enumerate(subset.get(field) or ()):
                path = f"subsets[{at}].{field}[{index}].ip"
                yield from _address(address.get("ip", ""), path)
        for index, port in enumerate(subset.get("ports") or ()):
            yield from port_number(port.get("port", 0), f"subsets[{at}].ports[{index}].port")


def _slice(new: Obj, old: Obj | None) -> Errors:
    yield from choice(new, "", "addressType", ("FQDN", "IPv4", "IPv6"))
    if old is not None and old.get("addressType") != new.get("addressType"):
        message = "field is immutable"
        yield FieldError("addressType", "Invalid value", message, new.get("addressType"))
    if new.get("addressType") == "FQDN":
        return
    for at, endpoint in enumerate(new.get("endpoints") or ()):
        for index, address in enumerate(endpoint.get("addresses") or ()):
            yield from _address(address, f"endpoints[{at}].addresses[{index}]")


def _address(address: str, path: str) -> Errors:
    if not _is_address(address):
        message = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        yield FieldError(path, "Invalid value", message, address)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _ingress(new: Obj, old: Obj | None) -> Errors:
    spec = spec_of(new)
    if not spec.get("rules") and not spec.get("defaultBackend"):
        message = "either `defaultBackend` or `rules` must be specified"
        yield FieldError("spec", "Invalid value", message, [])
    if backend := spec.get("defaultBackend"):
        yield from _backend(backend, "spec.defaultBackend")
    for at, rule in enumerate(spec.get("rules") or ()):
        for index, found in enumerate((rule.get("http") or {}).get("paths") or ()):
            path = f"spec.rules[{at}].http.paths[{index}]"
            kinds = ("Exact", "ImplementationSpecific", "Prefix")
            yield from choice(found, path, "pathType", kinds)
            if not found.get("path", "/").startswith("/"):
                message = "must be an absolute path"
                yield FieldError(f"{path}.path", "Invalid value", message, found["path"])
            yield from _backend(found.get("backend") or {}, f"{path}.backend")


def _backend(backend: Obj, path: str) -> Errors:
    service = backend.get("service")
    if service is None:
        if "resource" not in backend:
            yield FieldError(path, "Required value", "a service or a resource must be named")
        return
    yield from required(service, f"{path}.service", "name")
    port = service.get("port") or {}
    if not port.get("name") and not port.get("number"):
        message = "port name or number is required"
        yield FieldError(path, "Required value", message)


def _ingress_class(new: Obj, old: Obj | None) -> Errors:
    if old is not None:
        yield from frozen(spec_of(new), spec_of(old), "spec", "controller")


NETWORK_RULES: Final[Checks] = {
    ("", "Service"): _service,
    ("", "Endpoints"): _endpoints,
    ("discovery.k8s.io", "EndpointSlice"): _slice,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("networking.k8s.io", "IngressClass"): _ingress_class,
    ("networking.k8s.io", "NetworkPolicy"): network_policy,
}
