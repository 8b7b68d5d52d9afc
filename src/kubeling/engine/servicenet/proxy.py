"""Tells the data plane of every Service: what to listen on, and who is behind it."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import Protocol

from kubeling.component import Context
from kubeling.engine.netpolicy.verdicts import Verdicts
from kubeling.engine.servicenet.messages import Failure, Front, trimmed
from kubeling.engine.servicenet.nodehosts import NodeHosts
from kubeling.engine.servicenet.routes import (
    SERVICE_LABEL,
    Address,
    Frontend,
    affinity_seconds,
    balances,
    routes_of,
    source_ranges,
)
from kubeling.kube.controller import Controller, Result
from kubeling.kube.objects import Key, Obj, deletion_requested, key_of, labels, namespace
from kubeling.kube.resources import ENDPOINT_SLICES, SERVICES

__all__ = ["Gate", "Plane", "ServiceProxy"]

_TRY_AGAIN_SECONDS = 30.0
_FORWARDED = ("TCP", "UDP")


class Plane(Protocol):
    """What forwards and answers names, here or in another process."""

    async def serve(
        self, key: Key, service: Obj | None, slices: Sequence[Obj], fronts: Sequence[Front]
    ) -> Sequence[Failure]:
        """A Service as it is now (``None``: it is gone); returns where it cannot be listened on.

        Calls take effect in their order.
        """
        ...

    async def judge(self, verdicts: Verdicts | None) -> None:
        """What network policies say now; ``None`` where there are none."""
        ...


class Gate(Protocol):
    """The network policies' word on what is forwarded: the platform stands between the pods."""

    async def settled(self) -> None:
        """Returns when the policies there are at the start are known."""
        ...

    async def tell(self, plane: Plane) -> None:
        """Whom to tell of every change, beginning with what holds now."""
        ...

    def offer(self, service: Key, routes: Mapping[Frontend, Sequence[Address]]) -> None:
        """Hears what is listened on for a Service."""
        ...


class ServiceProxy:
    """Keeps what is listened on in line with the Services and their endpoints."""

    def __init__(
        self, context: Context, hosts: NodeHosts, plane: Plane, gate: Gate | None = None
    ) -> None:
        self._informers = context.informers
        self._services = context.informers.of(SERVICES)
        self._slices = context.informers.of(ENDPOINT_SLICES)
        self._slices.add_index("service", _service_of)
        self._recorder = context.recorder("service-proxy")
        self._client = context.client
        self._hosts = hosts
        self._plane = plane
        self._gate = gate

    @property
    def controller(self) -> Controller:
        return Controller(
            "service-proxy",
            SERVICES,
            self.reconcile,
            watches={ENDPOINT_SLICES: _key_of_slice},
        )

    async def begin(self) -> list[Key]:
        """Tells of all the Services there are, and returns them."""
        await self._informers.synced(SERVICES, ENDPOINT_SLICES)
        keys = [key_of(service) for service in self._services.list()]
        for key in keys:
            await self.reconcile(key)
        return keys

    async def reconcile(self, key: Key) -> Result | None:
        """Opens, redirects and closes what one Service needs."""
        service = self._services.get(*key)
        slices = self._slices.by_index("service", str(key))
        routes = {}
        if service is not None and not deletion_requested(service):
            found = routes_of(service, slices, self._hosts.listen)
            # Without a pod behind it a port is closed, so that callers are refused at once.
            routes = {place: places for place, places in found.items() if places}
        if self._gate is not None:
            self._gate.offer(key, routes)
        if service is None:
            await self._plane.serve(key, None, (), ())
            return None
        fronts = [
            Front(place, behind, affinity_seconds(service), _sources(service, place))
            for place, behind in routes.items()
            if place.protocol in _FORWARDED
        ]
        told = [trimmed(found) for found in slices]
        failures = await self._plane.serve(key, trimmed(service), told, fronts)
        for failure in failures:
            await self._recorder.warning(service, "FailedToListen", _explain(failure))
        await self._tell_of_others(service, routes)
        refused = bool(failures) or len(fronts) < len(routes)
        await self._tell_balancer(service, refused=refused)
        return Result(_TRY_AGAIN_SECONDS) if refused else None

    async def _tell_of_others(self, service: Obj, routes: Mapping[Frontend, object]) -> None:
        for protocol in {place.protocol for place in routes} - {*_FORWARDED}:
            message = f"{protocol} is not forwarded: only TCP and UDP are"
            await self._recorder.warning(service, "ProtocolNotSupported", message)

    async def _tell_balancer(self, service: Obj, *, refused: bool) -> None:
        """Shows where a LoadBalancer is reached; what was refused has its Event, and waits."""
        wanted = [{"ip": self._hosts.shown}] if balances(service) and not refused else []
        status = service.get("status") or {}
        shown = (status.get("loadBalancer") or {}).get("ingress") or []
        if [entry.get("ip") for entry in shown] == [entry["ip"] for entry in wanted]:
            return
        if service["spec"].get("loadBalancerClass") or deletion_requested(service):
            return
        balancer = {"ingress": wanted} if wanted else {}
        changed = {**service, "status": {**status, "loadBalancer": balancer}}
        await self._client.replace_status(SERVICES, changed)
        if wanted:
            await self._recorder.normal(service, "EnsuredLoadBalancer", "Ensured load balancer")


def _sources(service: Obj, place: Frontend) -> tuple[str, ...]:
    return tuple(str(block) for block in source_ranges(service, place))


def _explain(failure: Failure) -> str:
    where = f"{failure.place.host} port {failure.place.port}"
    if failure.errno == errno.EACCES:
        return (
            f"cannot listen on {where}: ports below 1024 need more rights; use a higher port, or "
            "set the system's net.ipv4.ip_unprivileged_port_start"
        )
    return f"cannot listen on {where}: {failure.message}"


def _service_of(found: Obj) -> tuple[str, ...]:
    return tuple(str(key) for key in _key_of_slice(found))


def _key_of_slice(found: Obj) -> tuple[Key, ...]:
    title = labels(found).get(SERVICE_LABEL)
    return (Key(namespace(found), title),) if title else ()
