"""Follows APIServices: puts backends in charge and watches over them, lists what is local.

Nothing runs while every APIService is local. A backend is checked when anything about it changes
and every 30 seconds, as upstream's controllers do; while it fails, sooner.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final

from kubeling.apiserver import metadata as meta
from kubeling.apiserver.aggregation.availability import Finding, check
from kubeling.apiserver.aggregation.connection import Backend, Connections
from kubeling.apiserver.aggregation.delegate import Delegates
from kubeling.apiserver.aggregation.proxy import ServiceDelegate
from kubeling.apiserver.aggregation.registration import (
    API_SERVICES,
    api_service_name,
    is_local,
    is_managed,
    local_api_service,
)
from kubeling.apiserver.deletion import DeleteOptions
from kubeling.apiserver.options import WriteOptions
from kubeling.apiserver.records import Event
from kubeling.apiserver.registry import Registry
from kubeling.apiserver.served import Served
from kubeling.apiserver.storage import Write
from kubeling.kube.errors import AlreadyExists, ApiError, NotFound
from kubeling.kube.objects import Obj, is_condition_true, labels, set_condition

__all__ = ["ApiServices"]

log = logging.getLogger(__name__)

_STORAGE: Final = "apiregistration.k8s.io/apiservices"
_PERIOD: Final = 30.0
_FIRST_RETRY: Final = 0.5


class ApiServices:
    """Keeps the delegates, and the APIServices' conditions, as they should be."""

    def __init__(self, registry: Registry, delegates: Delegates, connections: Connections) -> None:
        self._registry = registry
        self._delegates = delegates
        self._connections = connections
        self._remote: dict[str, ServiceDelegate] = {}
        self._due: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._wake = asyncio.Event()
        store = registry.store
        store.subscribe(_STORAGE, self._on_api_service)
        store.subscribe("/services", lambda event: self._on_backend(event, event.record.key.name))
        store.subscribe("discovery.k8s.io/endpointslices", self._on_slice)
        store.subscribe("apiextensions.k8s.io/customresourcedefinitions", self._on_definition)

    async def list_local(self) -> None:
        """Writes the APIServices that are missing, in one transaction: for a first start."""
        now = self._registry.clock.now()
        writes = []
        for obj in self._missing():
            meta.begin(obj, now, has_generation=False)
            self._served().strategy.prepare_create(obj)
            writes.append(Write(self._served().key("", obj["metadata"]["name"]), obj))
        if writes:
            await self._registry.store.write(*writes)

    async def run(self) -> None:
        """Works until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            wait = min(self._due.values(), default=None)
            timeout = None if wait is None else max(0.0, wait - loop.time())
            try:
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._register()
                due = [name for name, at in self._due.items() if at <= loop.time()]
                await asyncio.gather(*map(self._check, due))
            except ApiError as error:
                log.warning("APIServices: %s", error)
            except Exception:
                # One APIService's defect must not end the watch over the others.
                log.exception("APIServices could not be looked after")

    # --- what happens ------------------------------------------------------------------------

    def _on_api_service(self, event: Event) -> None:
        name, obj = event.record.key.name, event.record.obj
        spec = obj["spec"]
        group, version = spec.get("group", ""), spec["version"]
        if event.type == "DELETED" or is_local(obj) or group == API_SERVICES.group:
            if self._remote.pop(name, None) is not None:
                self._delegates.register(group, version, None)
                self._due.pop(name, None)
                self._failures.pop(name, None)
            self._wake.set()
            return
        known, backend = self._remote.get(name), Backend.of(obj)
        if known is None or known.backend != backend:
            known = self._remote[name] = ServiceDelegate(backend, self._connections)
            self._delegates.register(group, version, known)
            self._ask(name)
        known.available = is_condition_true(obj, "Available")

    def _on_backend(self, event: Event, service: str) -> None:
        for name, delegate in self._remote.items():
            if (delegate.backend.namespace, delegate.backend.name) == (
                event.record.key.namespace,
                service,
            ):
                self._ask(name)

    def _on_slice(self, event: Event) -> None:
        if self._remote:
            service = labels(event.record.obj).get("kubernetes.io/service-name", "")
            self._on_backend(event, service)

    def _on_definition(self, _: Event) -> None:
        self._wake.set()

    def _ask(self, name: str) -> None:
        self._due[name] = 0.0
        self._wake.set()

    # --- backends ----------------------------------------------------------------------------

    async def _check(self, name: str) -> None:
        delegate = self._remote.get(name)
        if delegate is None:
            self._due.pop(name, None)
            return
        self._due[name] = asyncio.get_running_loop().time() + _PERIOD
        version, _, group = name.partition(".")
        finding = await check(
            self._registry.store, self._connections, delegate.backend, group, version
        )
        if self._remote.get(name) is not delegate:
            return
        if finding.available:
            self._failures.pop(name, None)
        else:
            failures = self._failures[name] = self._failures.get(name, -1) + 1
            again = min(_FIRST_RETRY * 2.0**failures, _PERIOD)
            self._due[name] = min(self._due[name], asyncio.get_running_loop().time() + again)
        if finding.available and list(finding.resources) != list(delegate.resources):
            delegate.resources = finding.resources
            self._delegates.changed()
        if finding.available != delegate.available:
            delegate.available = finding.available
            self._delegates.changed()
        await self._report(name, finding)

    async def _report(self, name: str, finding: Finding) -> None:
        now = self._registry.clock.now()

        def transform(obj: Obj) -> Obj:
            status: Obj = {"conditions": list((obj.get("status") or {}).get("conditions") or ())}
            set_condition(
                status,
                "Available",
                finding.available,
                reason=finding.reason,
                message=finding.message,
                now=now,
            )
            return {**obj, "status": status}

        await self._change(name, transform)

    async def _change(self, name: str, transform: Callable[[Obj], Obj]) -> None:
        options = WriteOptions(subresource="status", internal=True)
        try:
            await self._registry.update(self._served(), "", name, transform, options)
        except NotFound:
            return

    # --- what is local -----------------------------------------------------------------------

    async def _register(self) -> None:
        """Lists what came to be served, and no longer what is not."""
        served = self._served()
        for obj in self._missing():
            try:
                await self._registry.create(served, "", obj, WriteOptions(internal=True))
            except AlreadyExists:
                continue
        wanted = {api_service_name(*each) for each in self._local()}
        for record in self._registry.store.list(_STORAGE):
            obj = record.obj
            if is_managed(obj) and is_local(obj) and record.key.name not in wanted:
                try:
                    await self._registry.delete(served, "", record.key.name, DeleteOptions())
                except NotFound:
                    continue

    def _missing(self) -> list[Obj]:
        served = self._served()
        return [
            local_api_service(group, version)
            for group, version in self._local()
            if self._registry.store.get(served.key("", api_service_name(group, version))) is None
        ]

    def _local(self) -> Iterator[tuple[str, str]]:
        found = {(one.resource.group, one.resource.version) for one in self._registry.catalog}
        found.update(self._delegates.own())
        return (each for each in sorted(found) if each[0] != API_SERVICES.group)

    def _served(self) -> Served:
        resource = API_SERVICES
        served = self._registry.catalog.find(resource.group, resource.version, resource.plural)
        assert served is not None
        return served
