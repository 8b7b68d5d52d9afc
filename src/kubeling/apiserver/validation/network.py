"""Rules of what connects pods."""

from __future__ import annotations

from typing import Final

from kubeling.apiserver.validation.policies import network_policy
from kubeling.apiserver.validation.rules import (
    Checks,
    Errors,
    choice,
    frozen,
    port_number,
    required,
    spec_of,
)
from kubeling.apiserver.validation.services import is_address, not_an_address, service
from kubeling.kube.errors import FieldError
from kubeling.kube.objects import Obj

__all__ = ["NETWORK_RULES"]


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
    if not is_address(address):
        yield not_an_address(path, address)


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
    ("", "Service"): service,
    ("", "Endpoints"): _endpoints,
    ("discovery.k8s.io", "EndpointSlice"): _slice,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("networking.k8s.io", "IngressClass"): _ingress_class,
    ("networking.k8s.io", "NetworkPolicy"): network_policy,
}
