"""The Services' network of one instance, prepared before the API server starts.

The API server needs to know the range to give addresses from, and the pods their name server; so
both are decided first, and :meth:`ServiceNetwork.run` serves them when the API answers.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from kubeling.component import Context
from kubeling.engine.atomic import write_file
from kubeling.engine.resolvconf import read_host_resolver
from kubeling.engine.servicenet.nodehosts import NodeHosts
from kubeling.engine.servicenet.ranges import ServiceRange, choose_range
from kubeling.engine.servicenet.reach import Reach

if TYPE_CHECKING:
    from kubeling.engine.servicenet.proxy import Gate

__all__ = ["ServiceNetwork", "prepare_service_network", "remove_service_network"]

log = logging.getLogger(__name__)


class _RangeFile(msgspec.Struct):
    range: str = ""


class ServiceNetwork:
    """Addresses and names for Services; made by :func:`prepare_service_network`.

    ``cidr`` is for the API server, ``dns_address`` (empty if there can be none) for the pods'
    ``resolv.conf``.
    """

    def __init__(
        self,
        chosen: ServiceRange,
        sockets: tuple[socket.socket, socket.socket] | None,
        reach: Reach | None,
    ) -> None:
        self._range = chosen
        self._sockets = sockets
        self._reach = reach
        self.ready = asyncio.Event()

    @property
    def cidr(self) -> str:
        return self._range.cidr

    @property
    def dns_address(self) -> str:
        return self._range.dns_address if self._sockets else ""

    async def run(self, context: Context, hosts: NodeHosts, gate: Gate | None = None) -> None:
        """Forwards and answers until cancelled; node ports and load balancers are at ``hosts``."""
        from kubeling.engine.servicenet.dns import DnsServer
        from kubeling.engine.servicenet.proxy import ServiceProxy
        from kubeling.engine.servicenet.zone import Zone

        early = self._range.network if self._reach else None
        proxy = ServiceProxy(context, hosts, early, gate)
        zone = Zone(context.informers, context.settings.cluster_domain, self.dns_address)
        upstream = [server for server in read_host_resolver().servers if server != self.dns_address]
        dns = DnsServer(zone, upstream)
        try:
            if self._sockets:
                await dns.start(*self._sockets)
            await proxy.begin()
            if gate is not None:
                await gate.settled()
            if self._reach:
                self._reach.open()
            self.ready.set()
            await proxy.controller.run(context.informers)
        finally:
            await proxy.close()
            await dns.close()

    def close(self) -> None:
        """Lets go of the sockets and takes the routes away."""
        for channel in self._sockets or ():
            channel.close()
        if self._reach:
            self._reach.close()


async def prepare_service_network(data_dir: Path, *, isolation: bool = True) -> ServiceNetwork:
    """Decides on the range (the same one each time) and opens the name server's sockets."""
    return await asyncio.to_thread(_prepare, data_dir, isolation)


def remove_service_network(data_dir: Path) -> None:
    """Takes away what a platform that was killed may have left in the kernel."""
    if known := _known(data_dir):
        chosen = ServiceRange(ipaddress.IPv4Network(known))
        if chosen.routed:
            Reach(chosen.network, data_dir).close()


def _prepare(data_dir: Path, isolation: bool) -> ServiceNetwork:
    routed = isolation and sys.platform == "linux" and os.geteuid() == 0
    try:
        chosen = _choose(data_dir, routed=routed)
        reach = Reach(chosen.network, data_dir) if routed else None
        if reach:
            reach.prepare()
    except OSError as error:
        log.warning("services are on the loopback network: %s", error)
        chosen, reach = _choose(data_dir, routed=False), None
    return ServiceNetwork(chosen, _dns_sockets(chosen), reach)


def _choose(data_dir: Path, *, routed: bool) -> ServiceRange:
    previous = _known(data_dir)
    taken: list[tuple[str, int]] = []
    if routed and not previous:
        from kubeling.engine.net.netlink import Route

        taken = Route().destinations()
    chosen = choose_range(data_dir, taken, previous, routed=routed)
    if chosen.cidr != previous:
        file = _file(data_dir)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, msgspec.json.encode(_RangeFile(chosen.cidr)))
    return chosen


def _known(data_dir: Path) -> str:
    try:
        return msgspec.json.decode(_file(data_dir).read_bytes(), type=_RangeFile).range
    except FileNotFoundError:
        return ""


def _file(data_dir: Path) -> Path:
    return data_dir / "engine" / "services.json"


def _dns_sockets(chosen: ServiceRange) -> tuple[socket.socket, socket.socket] | None:
    from kubeling.engine.servicenet.dns import dns_sockets

    try:
        return dns_sockets(chosen.dns_address, early=chosen.routed)
    except OSError as error:
        log.warning("pods cannot resolve the names of services: %s", error)
        return None
