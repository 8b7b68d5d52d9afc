"""Listens for every port of every Service, and leads to the pods behind it."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Protocol

from kubeling.component import Context
from kubeling.engine.servicenet.backends import Backends
from kubeling.engine.servicenet.forwarder import TcpForwarder, UdpForwarder
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

__all__ = ["Gate", "ServiceProxy"]

_TRY_AGAIN_SECONDS = 30.0

_Forwarder = TcpForwarder | UdpForwarder


class Gate(Protocol):
    """The network policies' word on what is forwarded: the platform stands between the pods."""

    async def settled(self) -> None:
        """Returns when the policies there are at the start are known."""
        ...

    def allows(self, source: str, address: Address, protocol: str) -> bool:
        """Whether a caller may be led there."""
        ...

    def offer(self, service: Key, routes: Mapping[Frontend, Sequence[Address]]) -> None:
        """Hears what is listened on for a Service."""
        ...


class ServiceProxy:
    """Keeps what is listened on in line with the Services and their endpoints.

    The addresses of the network ``early`` may become this machine's after they are listened on.
    """

    def __init__(
        self,
        context: Context,
        hosts: NodeHosts,
        early: ipaddress.IPv4Network | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._informers = context.informers
        self._services = context.informers.of(SERVICES)
        self._slices = context.informers.of(ENDPOINT_SLICES)
        self._slices.add_index("service", _service_of)
        self._recorder = context.recorder("service-proxy")
        self._client = context.client
        self._hosts = hosts
        self._early = early
        self._gate = gate
        self._open: dict[Key, dict[Frontend, _Forwarder]] = {}

    @property
    def controller(self) -> Controller:
        return Controller(
            "service-proxy",
            SERVICES,
            self.reconcile,
            watches={ENDPOINT_SLICES: _key_of_slice},
        )

    async def begin(self) -> None:
        """Listens for all the Services there are."""
        await self._informers.synced(SERVICES, ENDPOINT_SLICES)
        for service in self._services.list():
            await self.reconcile(key_of(service))

    async def reconcile(self, key: Key) -> Result | None:
        """Opens, redirects and closes what one Service needs."""
        service = self._services.get(*key)
        routes = {}
        if service is not None and not deletion_requested(service):
            slices = self._slices.by_index("service", str(key))
            found = routes_of(service, slices, self._hosts.listen)
            # Without a pod behind it a port is closed, so that callers are refused at once.
            routes = {place: places for place, places in found.items() if places}
        if self._gate is not None:
            self._gate.offer(key, routes)
        present = self._open.setdefault(key, {})
        for place in present.keys() - routes.keys():
            await present.pop(place).stop()
        refused = False
        for place, places in routes.items():
            assert service is not None
            if place in present:
                self._lead(present[place].backends, service, place, places)
                continue
            backends = Backends()
            self._lead(backends, service, place, places)
            forwarder = await self._listen(service, place, backends)
            if forwarder is None:
                refused = True
            else:
                present[place] = forwarder
        if not present:
            self._open.pop(key, None)
        if service is not None:
            await self._tell_balancer(service, refused=refused)
        return Result(_TRY_AGAIN_SECONDS) if refused else None

    async def close(self) -> None:
        """Stops listening altogether."""
        for present in self._open.values():
            for forwarder in present.values():
                await forwarder.stop()
        self._open.clear()

    def _lead(
        self, backends: Backends, service: Obj, place: Frontend, places: Sequence[Address]
    ) -> None:
        backends.places = tuple(places)
        backends.affinity = affinity_seconds(service)
        ranges, gate, protocol = source_ranges(service, place), self._gate, place.protocol

        def admits(source: str, address: Address) -> bool:
            if ranges and not any(ipaddress.ip_address(source) in block for block in ranges):
                return False
            return gate is None or gate.allows(source, address, protocol)

        backends.admits = admits

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

    async def _listen(self, service: Obj, place: Frontend, backends: Backends) -> _Forwarder | None:
        forwarder: _Forwarder
        if place.protocol == "TCP":
            forwarder = TcpForwarder(backends)
        elif place.protocol == "UDP":
            forwarder = UdpForwarder(backends)
        else:
            message = f"{place.protocol} is not forwarded: only TCP and UDP are"
            await self._recorder.warning(service, "ProtocolNotSupported", message)
            return None
        try:
            await forwarder.start(place.host, place.port, early=self._is_early(place.host))
        except OSError as error:
            await self._recorder.warning(service, "FailedToListen", _explain(place, error))
            return None
        return forwarder

    def _is_early(self, host: str) -> bool:
        return self._early is not None and ipaddress.ip_address(host) in self._early


def _explain(place: Frontend, error: OSError) -> str:
    where = f"{place.host} port {place.port}"
    if error.errno == errno.EACCES:
        return (
            f"cannot listen on {where}: ports below 1024 need more rights; use a higher port, or "
            "set the system's net.ipv4.ip_unprivileged_port_start"
        )
    return f"cannot listen on {where}: {error.strerror or error}"


def _service_of(found: Obj) -> tuple[str, ...]:
    return tuple(str(key) for key in _key_of_slice(found))


def _key_of_slice(found: Obj) -> tuple[Key, ...]:
    title = labels(found).get(SERVICE_LABEL)
    return (Key(namespace(found), title),) if title else ()
