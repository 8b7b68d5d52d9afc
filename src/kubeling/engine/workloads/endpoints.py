"""Endpoints and EndpointSlices: which pods are behind each Service.

A Service without a selector belongs to whoever writes its Endpoints; those are mirrored into
slices, so that readers of slices find them too, unless their writer says that it makes its own
(``endpointslice.kubernetes.io/skip-mirror``).
"""

from __future__ import annotations

from typing import Final

from kubeling.component import Context
from kubeling.engine.workloads.digest import template_digest
from kubeling.engine.workloads.endpoint_plan import backends, endpoint_slices, subsets
from kubeling.kube.controller import Controller
from kubeling.kube.errors import AlreadyExists
from kubeling.kube.objects import (
    Key,
    Obj,
    key_of,
    labels,
    name,
    namespace,
    new_object,
)
from kubeling.kube.resources import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES, Resource

__all__ = ["controller"]

_SERVICE: Final = "kubernetes.io/service-name"
_MANAGED: Final = "endpointslice.kubernetes.io/managed-by"
_OURS: Final = "endpointslice-controller.k8s.io"
_MIRRORED: Final = "endpointslicemirroring-controller.k8s.io"
_SKIP_MIRROR: Final = "endpointslice.kubernetes.io/skip-mirror"
_HEADLESS: Final = "service.kubernetes.io/headless"


def controller(context: Context) -> Controller:
    """The controller of Endpoints and EndpointSlices."""
    reconciler = _Endpoints(context)
    return Controller(
        "endpoints-controller",
        SERVICES,
        reconciler.reconcile,
        watches={
            PODS: reconciler.services_of,
            ENDPOINTS: lambda obj: (key_of(obj),),
            ENDPOINT_SLICES: _service_of_slice,
        },
    )


class _Endpoints:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._services = context.informers.of(SERVICES)
        self._pods = context.informers.of(PODS)
        self._endpoints = context.informers.of(ENDPOINTS)
        self._slices = context.informers.of(ENDPOINT_SLICES)

    def services_of(self, pod: Obj) -> list[Key]:
        """The Services whose selectors find the pod."""
        found = []
        for service in self._services.list(namespace(pod)):
            selector = service["spec"].get("selector")
            if selector and selector.items() <= labels(pod).items():
                found.append(key_of(service))
        return found

    async def reconcile(self, key: Key) -> None:
        service = self._services.get(*key)
        if service is None:
            await self._remove(key)
        elif service["spec"].get("type") == "ExternalName":
            return
        elif service["spec"].get("selector"):
            found = backends(service, self._pods.list(key.namespace))
            await self._write_endpoints(service, subsets(found))
            await self._write_slices(service, endpoint_slices(found), _OURS)
        else:
            await self._mirror(service)

    async def _mirror(self, service: Obj) -> None:
        endpoints = self._endpoints.get(*key_of(service))
        wanted = endpoints is not None and labels(endpoints).get(_SKIP_MIRROR) != "true"
        contents = _mirrored(endpoints) if endpoints is not None and wanted else []
        await self._write_slices(service, contents, _MIRRORED)

    async def _write_endpoints(self, service: Obj, wanted: list[Obj]) -> None:
        present = self._endpoints.get(*key_of(service))
        fresh = new_object(
            ENDPOINTS, name(service), namespace(service), labels=_labels(service), owner=None
        )
        if wanted:
            fresh["subsets"] = wanted
        await self._put(ENDPOINTS, present, fresh, "subsets")

    async def _write_slices(self, service: Obj, contents: list[Obj], manager: str) -> None:
        present = {name(found): found for found in self._slices_of(key_of(service), manager)}
        wanted = {}
        for content in contents:
            title = f"{name(service)[:52]}-{template_digest(content['ports'])}"
            wanted[title] = new_object(
                ENDPOINT_SLICES,
                title,
                namespace(service),
                labels={**_labels(service), _SERVICE: name(service), _MANAGED: manager},
                owner=service,
                **content,
            )
        for title, fresh in wanted.items():
            await self._put(ENDPOINT_SLICES, present.get(title), fresh, "endpoints")
        for title in present.keys() - wanted.keys():
            await self._client.delete(ENDPOINT_SLICES, title, namespace(service), missing_ok=True)

    async def _put(self, resource: Resource, present: Obj | None, fresh: Obj, content: str) -> None:
        title, where = name(fresh), namespace(fresh)
        if present is None:
            try:
                await self._client.create(resource, fresh)
            except AlreadyExists:
                present = await self._client.get(resource, title, where)
            else:
                return
        if present.get(content) == fresh.get(content) and labels(present) == labels(fresh):
            return
        fresh["metadata"]["resourceVersion"] = present["metadata"]["resourceVersion"]
        await self._client.replace(resource, fresh)

    def _slices_of(self, key: Key, manager: str) -> list[Obj]:
        wanted = {_SERVICE: key.name, _MANAGED: manager}.items()
        return [s for s in self._slices.list(key.namespace) if wanted <= labels(s).items()]

    async def _remove(self, key: Key) -> None:
        """A deleted Service takes its Endpoints along (its slices are collected as garbage)."""
        if self._endpoints.get(*key) is not None:
            await self._client.delete(ENDPOINTS, key.name, key.namespace, missing_ok=True)


def _labels(service: Obj) -> dict[str, str]:
    headless = service["spec"].get("clusterIP") == "None"
    return {**labels(service), **({_HEADLESS: ""} if headless else {})}


def _service_of_slice(found: Obj) -> tuple[Key, ...]:
    title = labels(found).get(_SERVICE)
    return (Key(namespace(found), title),) if title else ()


def _mirrored(endpoints: Obj) -> list[Obj]:
    slices = []
    for subset in endpoints.get("subsets") or ():
        slices.append(
            {
                "addressType": "IPv4",
                "endpoints": [
                    {"addresses": [address["ip"]], "conditions": {"ready": ready}}
                    for field, ready in (("addresses", True), ("notReadyAddresses", False))
                    for address in subset.get(field) or ()
                ],
                "ports": subset.get("ports") or [],
            }
        )
    return slices
