"""The addresses behind a Service, from its selector and the pods there are. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubeling.engine.workloads.podstate import is_finished, is_ready
from kubeling.kube.objects import Obj, deletion_requested, labels, name, namespace, uid

__all__ = ["Backend", "backends", "endpoint_slices", "subsets"]


@dataclass(frozen=True, slots=True)
class Backend:
    """One pod behind a Service, with the ports as numbers on that pod."""

    pod: Obj
    address: str
    ports: tuple[tuple[str, int, str], ...]
    ready: bool
    hostname: str = ""


def backends(service: Obj, pods: Iterable[Obj]) -> list[Backend]:
    """The pods the selector finds that have an address, in order of their names."""
    selector: Mapping[str, str] = service["spec"].get("selector") or {}
    if not selector:
        return []
    always = bool(service["spec"].get("publishNotReadyAddresses"))
    found = [
        Backend(pod, address, _ports(service, pod), _serves(pod, always), _hostname(service, pod))
        for pod in pods
        if selector.items() <= labels(pod).items()
        and not is_finished(pod)
        and (address := (pod.get("status") or {}).get("podIP"))
    ]
    return sorted(found, key=lambda backend: name(backend.pod))


def subsets(found: Iterable[Backend]) -> list[Obj]:
    """``Endpoints.subsets``: pods with the same ports together."""
    groups: dict[tuple[tuple[str, int, str], ...], list[Backend]] = {}
    for backend in found:
        if not deletion_requested(backend.pod):
            groups.setdefault(backend.ports, []).append(backend)
    result = []
    for ports, members in sorted(groups.items()):
        subset: Obj = {}
        ready = [_address(b) for b in members if b.ready]
        waiting = [_address(b) for b in members if not b.ready]
        if ready:
            subset["addresses"] = ready
        if waiting:
            subset["notReadyAddresses"] = waiting
        if ports:
            subset["ports"] = [_port(*port) for port in ports]
        result.append(subset)
    return result


def endpoint_slices(found: Iterable[Backend]) -> list[Obj]:
    """The content of the EndpointSlices: one per set of ports."""
    groups: dict[tuple[tuple[str, int, str], ...], list[Obj]] = {}
    for backend in found:
        groups.setdefault(backend.ports, []).append(_endpoint(backend))
    return [
        {
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [_port(*port) for port in ports],
        }
        for ports, endpoints in sorted(groups.items())
    ]


def _hostname(service: Obj, pod: Obj) -> str:
    """A pod has a name below the Service that its ``subdomain`` names."""
    spec = pod["spec"]
    return str(spec.get("hostname") or "") if spec.get("subdomain") == name(service) else ""


def _serves(pod: Obj, always: bool) -> bool:
    return always or (is_ready(pod) and not deletion_requested(pod))


def _ports(service: Obj, pod: Obj) -> tuple[tuple[str, int, str], ...]:
    found = []
    for port in service["spec"].get("ports") or ():
        number = _number(port.get("targetPort", port["port"]), pod)
        if number is not None:
            found.append((port.get("name") or "", number, port.get("protocol") or "TCP"))
    return tuple(found)


def _number(target: Any, pod: Obj) -> int | None:
    if isinstance(target, int):
        return target
    sidecars = (pod["spec"].get("initContainers") or ()) if isinstance(target, str) else ()
    for container in [*pod["spec"]["containers"], *sidecars]:
        for port in container.get("ports") or ():
            if port.get("name") == target:
                return int(port["containerPort"])
    return int(target) if str(target).isdigit() else None


def _port(title: str, number: int, protocol: str) -> Obj:
    port: Obj = {"port": number, "protocol": protocol}
    return {"name": title, **port} if title else port


def _reference(pod: Obj) -> Obj:
    return {"kind": "Pod", "namespace": namespace(pod), "name": name(pod), "uid": uid(pod)}


def _address(backend: Backend) -> Obj:
    spec = backend.pod["spec"]
    address: Obj = {"ip": backend.address, "targetRef": _reference(backend.pod)}
    if spec.get("nodeName"):
        address["nodeName"] = spec["nodeName"]
    if backend.hostname:
        address["hostname"] = backend.hostname
    return address


def _endpoint(backend: Backend) -> Obj:
    spec = backend.pod["spec"]
    going = deletion_requested(backend.pod)
    endpoint: Obj = {
        "addresses": [backend.address],
        "conditions": {
            "ready": backend.ready,
            "serving": is_ready(backend.pod),
            "terminating": going,
        },
        "targetRef": _reference(backend.pod),
    }
    if spec.get("nodeName"):
        endpoint["nodeName"] = spec["nodeName"]
    if backend.hostname:
        endpoint["hostname"] = backend.hostname
    return endpoint
