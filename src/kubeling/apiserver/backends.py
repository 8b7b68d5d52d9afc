"""Where a Service's port leads: the addresses that its EndpointSlices and Endpoints name.

The server reaches pods by these addresses itself, for ``services/proxy`` and for webhooks, so it
depends on nobody who routes the Service's own address.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.storage import Store
from kubeling.kube.errors import ServiceUnavailable
from kubeling.kube.objects import Obj, labels

__all__ = ["service_address", "service_backend"]


def service_address(store: Store, namespace: str, name: str, port: str) -> str:
    """``host:port`` behind a Service that is named; raises :class:`ServiceUnavailable`."""
    record = store.get(StoreKey("/services", namespace, name))
    if record is None:
        raise ServiceUnavailable(f'service "{name}" not found')
    spec = record.obj.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return f"{spec.get('externalName', '')}:{port}"
    return service_backend(store, record.obj, port)


def service_backend(store: Store, service: Obj, port: str) -> str:
    """``host:port`` of one ready endpoint behind a Service's port, by name or number.

    Raises :class:`ServiceUnavailable` where there is no such port or nobody behind it.
    """
    metadata, spec = service["metadata"], service.get("spec") or {}
    chosen = _chosen(spec.get("ports") or [], port)
    if chosen is None:
        raise ServiceUnavailable(f'no service port "{port}" in service "{metadata["name"]}"')
    found = [
        *_slices(store, metadata["namespace"], metadata["name"], chosen),
        *_endpoints(store, metadata["namespace"], metadata["name"], chosen),
    ]
    if not found:
        raise ServiceUnavailable(f'no endpoints available for service "{metadata["name"]}"')
    return random.choice(found)


def _chosen(ports: list[Obj], wanted: str) -> Obj | None:
    if not wanted:
        return ports[0] if ports else None
    for port in ports:
        if wanted in (port.get("name"), str(port.get("port"))):
            return port
    return None


def _slices(store: Store, namespace: str, name: str, port: Obj) -> Iterator[str]:
    for record in store.list("discovery.k8s.io/endpointslices", namespace):
        if labels(record.obj).get("kubernetes.io/service-name") != name:
            continue
        number = _number(record.obj.get("ports") or (), port)
        for endpoint in record.obj.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready", True) and number:
                yield from (f"{address}:{number}" for address in endpoint.get("addresses") or ())


def _endpoints(store: Store, namespace: str, name: str, port: Obj) -> Iterator[str]:
    record = store.get(StoreKey("/endpoints", namespace, name))
    for subset in (record.obj.get("subsets") or ()) if record else ():
        number = _number(subset.get("ports") or (), port)
        if number:
            yield from (f"{entry['ip']}:{number}" for entry in subset.get("addresses") or ())


def _number(ports: Iterable[Obj], wanted: Obj) -> int | None:
    """The endpoints' port that stands for a service's: of the same name, or the only one."""
    listed = list(ports)
    for port in listed:
        if port.get("name", "") == wanted.get("name", ""):
            return int(port["port"])
    return int(listed[0]["port"]) if len(listed) == 1 else None
