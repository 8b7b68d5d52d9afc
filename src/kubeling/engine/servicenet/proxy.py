"""Listens for every port of every Service, and leads to the pods behind it."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Protocol

from kubeling.component import Context
from kubeling.engine.servicenet.backends import Backends
from kubeling.engine.servicenet.forwarder import TcpForwarder, UdpForwarder
from kubeling.engine.servicenet.routes import (
    SERVICE_LABEL,
    Address,
    Frontend,
    affinity_seconds,
    routes_of,
)
from kubeling.kube.controller import Controller, Result
from kubeling.kube.objects import Key, Obj, deletion_requested, key_of, labels, namespace
from kubeling.kube.resources import ENDPOINT_SLICES, SERVICES

__all__ = ["Gate", "ServiceProxy"]

_TRY_AGAIN_SECONDS = 30.0

_Forwarder = TcpForwarder | UdpForwarder


class Gate(Protocol):
    """The network policies' word on what is forwarded: the platform stands between the pods."""

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
        node_addresses: Sequence[str],
        early: ipaddress.IPv4Network | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._informers = context.informers
        self._services = context.informers.of(SERVICES)
        self._slices = context.informers.of(ENDPOINT_SLICES)
        self._slices.add_index("service", _service_of)
        self._recorder = context.recorder("service-proxy")
        self._node_addresses = tuple(node_addresses)
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
            found = routes_of(service, slices, self._node_addresses)
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
                present[place].backends.places = places
                present[place].backends.affinity = affinity_seconds(service)
                continue
            forwarder = await self._listen(service, place, self._backends(service, place, places))
            if forwarder is None:
                refused = True
            else:
                present[place] = forwarder
        if not present:
            self._open.pop(key, None)
        return Result(_TRY_AGAIN_SECONDS) if refused else None

    async def close(self) -> None:
        """Stops listening altogether."""
        for present in self._open.values():
            for forwarder in present.values():
                await forwarder.stop()
        self._open.clear()

    def _backends(self, service: Obj, place: Frontend, places: Sequence[Address]) -> Backends:
        affinity = affinity_seconds(service)
        if (gate := self._gate) is None:
            return Backends(places, affinity=affinity)
        protocol = place.protocol
        return Backends(
            places,
            affinity=affinity,
            admits=lambda source, address: gate.allows(source, address, protocol),
        )

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
