"""The Services' network of one instance, prepared before the API server starts.

The API server needs to know the range to give addresses from, and the pods their name server; so
both are decided first, and :meth:`ServiceNetwork.run` serves them when the API answers.

What forwards and answers is a process of its own (:mod:`.process`) that outlives this one, as the
pods do: after a crash it is found again as it was left.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec

from kubeling import __version__
from kubeling.component import Context
from kubeling.engine.atomic import write_file
from kubeling.engine.servicenet.dns import dns_sockets
from kubeling.engine.servicenet.link import (
    DataPlaneLink,
    control_socket,
    end_data_plane,
    launch,
    running_version,
)
from kubeling.engine.servicenet.nodehosts import NodeHosts
from kubeling.engine.servicenet.proxy import Gate, ServiceProxy
from kubeling.engine.servicenet.ranges import ServiceRange, choose_range
from kubeling.engine.servicenet.reach import Reach
from kubeling.engine.servicenet.setup import Setup

__all__ = ["ServiceNetwork", "prepare_service_network", "remove_service_network"]

log = logging.getLogger(__name__)


class _File(msgspec.Struct):
    range: str = ""
    names: bool = True
    """Whether the name server's sockets could be opened."""


class ServiceNetwork:
    """Addresses and names for Services; made by :func:`prepare_service_network`.

    ``cidr`` is for the API server, ``dns_address`` (empty if there can be none) for the pods'
    ``resolv.conf``.
    """

    def __init__(self, data_dir: Path, plane: _Plane) -> None:
        self._data_dir = data_dir
        self._plane = plane
        self.ready = asyncio.Event()

    @property
    def cidr(self) -> str:
        return self._plane.range.cidr

    @property
    def api_address(self) -> str:
        """The address of the Service ``kubernetes``."""
        return self._plane.range.api_address

    @property
    def dns_address(self) -> str:
        return self._plane.range.dns_address if self._plane.names else ""

    async def run(self, context: Context, hosts: NodeHosts, gate: Gate | None = None) -> None:
        """Forwards and answers until cancelled; node ports and load balancers are at ``hosts``."""
        link = DataPlaneLink(self._data_dir)
        if gate is not None:
            await gate.tell(link)
        proxy = ServiceProxy(context, hosts, link, gate)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_told(link, proxy, gate), name="data plane")
            await self.ready.wait()
            await proxy.controller.run(context.informers)

    async def _keep_told(self, link: DataPlaneLink, proxy: ServiceProxy, gate: Gate | None) -> None:
        """Tells the data plane everything, and a new one again should it end."""
        while True:
            if await _connected(link):
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._tell(link, proxy, gate))
                    await link.listen()
            log.warning("the process that forwards for Services ended; starting another")
            await asyncio.to_thread(self._plane.start)

    async def _tell(self, link: DataPlaneLink, proxy: ServiceProxy, gate: Gate | None) -> None:
        with contextlib.suppress(ConnectionError):
            await link.retain(await proxy.begin())
            if gate is not None:
                await gate.settled()
            await link.open()
            self.ready.set()

    def close(self) -> None:
        """Ends the data plane: the pods it is for have ended."""
        end_data_plane(self._data_dir)
        self._plane.collect()


async def _connected(link: DataPlaneLink) -> bool:
    """Whether there is a data plane; one that was found a moment ago may have ended since."""
    try:
        await link.connect()
    except OSError:
        return False
    return True


async def prepare_service_network(
    data_dir: Path, *, isolation: bool = True, domain: str = "cluster.local"
) -> ServiceNetwork:
    """Decides on the range (the same one each time) and begins to hold it."""
    routed = isolation and sys.platform == "linux" and os.geteuid() == 0
    return ServiceNetwork(data_dir, await asyncio.to_thread(_plane, data_dir, domain, routed))


def remove_service_network(data_dir: Path) -> None:
    """Takes away what a platform that was killed may have left running and in the kernel."""
    end_data_plane(data_dir)
    if known := _read(data_dir).range:
        chosen = ServiceRange(ipaddress.IPv4Network(known))
        if chosen.routed:
            Reach(chosen.network, data_dir).close()


def _plane(data_dir: Path, domain: str, routed: bool) -> _Plane:
    return _Plane(data_dir.resolve(), domain, routed=routed)


class _Plane:
    """The data plane's process: one that lives on, or that is started here."""

    def __init__(self, data_dir: Path, domain: str, *, routed: bool) -> None:
        self._data_dir = data_dir
        self._domain = domain
        self._version = f"{__version__} {domain}"
        self._routed = routed
        self._process: subprocess.Popen[bytes] | None = None
        known = _read(data_dir)
        if known.range and running_version(data_dir) == self._version:
            self.range = ServiceRange(ipaddress.IPv4Network(known.range))
            self.names = known.names
        else:
            end_data_plane(data_dir)
            self.start()

    def start(self) -> None:
        """Opens what a new process needs, and hands it over."""
        self.collect()
        try:
            self.range = _choose(self._data_dir, routed=self._routed)
            reach = Reach(self.range.network, self._data_dir) if self._routed else None
            if reach:
                reach.prepare()
        except OSError as error:
            log.warning("services are on the loopback network: %s", error)
            self.range, reach = _choose(self._data_dir, routed=False), None
        names = _dns_sockets(self.range)
        self.names = names is not None
        _write(self._data_dir, _File(self.range.cidr, self.names))
        with contextlib.ExitStack() as ours:
            control = ours.enter_context(control_socket(self._data_dir))
            for channel in names or ():
                ours.enter_context(channel)
            if reach:
                ours.callback(reach.let_go)
            setup = Setup(
                data_dir=str(self._data_dir),
                version=self._version,
                domain=self._domain,
                network=self.range.cidr,
                routed=reach is not None,
                dns_address=self.range.dns_address if names else "",
                control=control.fileno(),
                dns=(names[0].fileno(), names[1].fileno()) if names else None,
                tether=reach.tether if reach else None,
            )
            self._process = launch(self._data_dir, setup)

    def collect(self) -> None:
        """The process has ended, if it was ours."""
        if self._process is not None:
            process, self._process = self._process, None
            process.wait()


def _choose(data_dir: Path, *, routed: bool) -> ServiceRange:
    previous = _read(data_dir).range
    taken: list[tuple[str, int]] = []
    if routed and not previous:
        from kubeling.engine.net.netlink import Route

        taken = Route().destinations()
    return choose_range(data_dir, taken, previous, routed=routed)


def _dns_sockets(chosen: ServiceRange) -> tuple[socket.socket, socket.socket] | None:
    try:
        return dns_sockets(chosen.dns_address, early=chosen.routed)
    except OSError as error:
        log.warning("pods cannot resolve the names of services: %s", error)
        return None


def _read(data_dir: Path) -> _File:
    try:
        return msgspec.json.decode(_file(data_dir).read_bytes(), type=_File)
    except FileNotFoundError:
        return _File()


def _write(data_dir: Path, content: _File) -> None:
    if _read(data_dir) != content:
        file = _file(data_dir)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, msgspec.json.encode(content))


def _file(data_dir: Path) -> Path:
    return data_dir / "engine" / "services.json"
