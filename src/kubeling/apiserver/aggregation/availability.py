"""Whether an APIService's backend can be asked, and what it serves.

The checks and their words are those of upstream's ``remote_available_controller.go``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from multidict import CIMultiDict

from kubeling.apiserver.aggregation.connection import Backend, Connections, user_headers
from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.storage import Store
from kubeling.apiserver.user import User
from kubeling.kube.errors import ServiceUnavailable
from kubeling.kube.objects import Obj, labels

__all__ = ["Finding", "check"]

_AGGREGATOR: Final = User("system:kube-aggregator", ("system:masters",))
_SECONDS: Final = 5.0


class Finding(NamedTuple):
    """The condition ``Available``, and the resources where the backend told them."""

    available: bool
    reason: str
    message: str
    resources: Sequence[Obj] = ()


async def check(
    store: Store, connections: Connections, backend: Backend, group: str, version: str
) -> Finding:
    """Looks at the Service, its endpoints, and asks the backend what it serves."""
    if (wrong := _unroutable(store, backend)) is not None:
        return wrong
    path = f"/apis/{group}/{version}"
    try:
        async with asyncio.timeout(_SECONDS):
            document = await _discover(connections, backend, path)
    except (ServiceUnavailable, TimeoutError) as error:
        why = getattr(error, "message", "") or "context deadline exceeded"
        url = f"https://{backend.host}:{backend.port}{path}"
        return Finding(
            False, "FailedDiscoveryCheck", f"failing or missing response from {url}: {why}"
        )
    return Finding(True, "Passed", "all checks passed", document.get("resources") or ())


def _unroutable(store: Store, backend: Backend) -> Finding | None:
    where = f'service/{backend.name} in "{backend.namespace}"'
    record = store.get(StoreKey("/services", backend.namespace, backend.name))
    if record is None:
        return Finding(False, "ServiceNotFound", f"{where} is not present")
    spec = record.obj.get("spec") or {}
    if spec.get("type", "ClusterIP") != "ClusterIP":
        return None
    port = next((p for p in spec.get("ports") or () if p.get("port") == backend.port), None)
    if port is None:
        why = f"{where} is not listening on port {backend.port}"
        return Finding(False, "ServicePortError", why)
    slices = [
        record.obj
        for record in store.list("discovery.k8s.io/endpointslices", backend.namespace)
        if labels(record.obj).get("kubernetes.io/service-name") == backend.name
    ]
    if not slices:
        why = f"cannot find endpointslices for {where}"
        return Finding(False, "EndpointsNotFound", why)
    name = port.get("name") or ""
    if not any(_serves(found, name) for found in slices):
        why = f'endpointslices for {where} have no addresses with port name "{name}"'
        return Finding(False, "MissingEndpoints", why)
    return None


def _serves(found: Obj, port: str) -> bool:
    endpoints = found.get("endpoints") or ()
    return any(
        (endpoint.get("conditions") or {}).get("ready", True) for endpoint in endpoints
    ) and any((entry.get("name") or "") == port for entry in found.get("ports") or ())


async def _discover(connections: Connections, backend: Backend, path: str) -> Obj:
    headers = CIMultiDict([("Accept", "application/json"), *user_headers(_AGGREGATOR)])
    async with await connections.request(backend, "GET", path, headers, b"") as response:
        if not 200 <= response.status < 300:
            raise ServiceUnavailable(f"bad status from {response.url}: {response.status}")
        body = await response.read()
    try:
        document: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        document = None
    # What answers with something else than JSON is there, but tells nothing.
    return document if isinstance(document, dict) else {}
