"""Addresses for pods: a few networks are always ready, so that a pod never waits for one.

A network used by an unprivileged pod is as good as new once its processes are gone, so it is used
again. All kernel objects are named after the instance; whatever a crash leaves is found by name.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from kubeling.engine.net.masquerade import add_masquerade, remove_masquerade
from kubeling.engine.net.namespaces import (
    add_network,
    inside,
    is_network,
    open_socket,
    remove_network,
)
from kubeling.engine.net.netlink import Route
from kubeling.engine.net.nftables import Request, commit, table_socket
from kubeling.engine.net.subnet import PodSubnet

__all__ = ["NetworkPool", "PodNetwork", "PoolExhausted"]

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_READY: Final = 4
_AT_ONCE: Final = 16
_FIRST: Final = 2
_LAST: Final = 254


class PoolExhausted(Exception):
    """All addresses are in use; the pod has to wait until another one ends."""


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """A pod's network: its address and the file that stands for its namespace."""

    octet: int
    address: str
    file: Path


class NetworkPool:
    """The pods' networks of one platform instance. All methods belong to one event loop."""

    def __init__(self, folder: Path, subnet: PodSubnet) -> None:
        self.subnet = subnet
        self._folder = folder
        self._ready: deque[PodNetwork] = deque()
        self._unused = deque(range(_FIRST, _LAST + 1))
        self._in_use: set[int] = set()
        self._left: set[int] = set()
        """Those of an earlier run that their pods have not claimed yet."""
        self._mtu = 1500
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="pod-networks")
        self._filters = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="pod-filters")
        self._refill: asyncio.Task[None] | None = None

    async def start(self, claimed: Iterable[int] = ()) -> None:
        """Makes bridge and masquerading; networks in use since an earlier run are taken over.

        ``claimed`` are the octets of pods that lived on; those whose network is gone, as after a
        regular stop, are free again. Networks that nobody claims go: a pod that ended unseen may
        have left its rules there. Raises :class:`OSError` where the system does not allow it.
        """
        left, self._mtu = await self._do(_set_up, self.subnet, self._folder)
        self._left = set(claimed) & set(left)
        self._in_use = set(self._left)
        for octet in left:
            if octet in self._in_use:
                self._unused.remove(octet)
            else:
                await self._do(remove_network, self._network(octet).file)
        await self._fill(1)
        self._refill_soon()

    async def acquire(self) -> PodNetwork:
        """A network nobody else uses; raises :class:`PoolExhausted`."""
        if not self._ready:
            await self._fill(1)
        if not self._ready:
            raise PoolExhausted(f"all {_LAST - _FIRST + 1} pod addresses are in use")
        network = self._ready.popleft()
        self._in_use.add(network.octet)
        self._refill_soon()
        return network

    def claim(self, octet: int) -> PodNetwork | None:
        """The network of a pod found again after a restart, if it still exists.

        One made since then under the same number is another pod's.
        """
        if octet not in self._left:
            return None
        self._left.discard(octet)
        return self._network(octet)

    async def release(self, network: PodNetwork, *, reuse: bool = True) -> None:
        """Takes a network back; all processes in it must have ended."""
        if network.octet not in self._in_use:
            return
        self._in_use.discard(network.octet)
        if reuse and len(self._ready) < 4 * _READY:
            self._ready.append(network)
        else:
            await self._do(remove_network, network.file)
            self._unused.append(network.octet)

    async def open_socket(self, network: PodNetwork, family: socket.AddressFamily) -> socket.socket:
        """A TCP socket inside a network in use."""
        return await self._do(open_socket, network.file, family)

    async def filter(self, network: PodNetwork, requests: Sequence[Request]) -> None:
        """Changes a network's own nftables, all or nothing; raises :class:`OSError`.

        The kernel takes some 10 ms, most of which it waits; so several go on side by side.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._filters, _filter, network.file, requests)

    async def stop(self, *, remove: bool) -> None:
        """Ends the pool; with ``remove`` nothing of it stays in the kernel."""
        if self._refill is not None:
            self._refill.cancel()
            await asyncio.wait([self._refill])
        if remove:
            await self._do(_tear_down, self.subnet, self._folder)
        self._executor.shutdown()
        self._filters.shutdown()

    def _network(self, octet: int) -> PodNetwork:
        return PodNetwork(octet, self.subnet.address(octet), self._folder / str(octet))

    def _refill_soon(self) -> None:
        if len(self._ready) < _READY and (self._refill is None or self._refill.done()):
            self._refill = asyncio.create_task(self._top_up(), name="pod networks")

    async def _fill(self, wanted: int) -> None:
        while len(self._ready) < wanted and self._unused:
            network = self._network(self._unused.popleft())
            await self._do(add_network, network.file, self.subnet, network.octet, self._mtu)
            self._ready.append(network)

    async def _top_up(self) -> None:
        try:
            await self._fill(_READY)
        except OSError as error:
            # The pod that needs the next one tries again and reports what is wrong.
            log.warning("no pod network could be made ahead of time: %s", error)

    async def _do(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: call(*args, **kwargs))


def _set_up(subnet: PodSubnet, folder: Path) -> tuple[list[int], int]:
    """Makes what all pods share; returns the octets of existing networks, and the packet size."""
    folder.mkdir(parents=True, exist_ok=True)
    route = Route()
    if not route.exists(subnet.bridge):
        route.add_bridge(subnet.bridge)
    # By itself a bridge takes the least of its members', which changes as pods come and go; those
    # that have connections then speak to nobody until they look for it again, up to a minute.
    route.set_hardware_address(subnet.bridge, subnet.hardware_address)
    route.add_address(subnet.bridge, subnet.gateway, subnet.network.prefixlen)
    add_masquerade(
        subnet.table, str(subnet.network.network_address), subnet.network.prefixlen, subnet.bridge
    )
    # Only packets between the pods and the world: the machine does not become a router.
    ways_out = _ways_out()
    for interface in (subnet.bridge, *ways_out):
        Path(f"/proc/sys/net/ipv4/conf/{interface}/forwarding").write_text("1")
    sizes = [int(Path(f"/sys/class/net/{way}/mtu").read_text()) for way in ways_out]
    left = sorted(int(file.name) for file in folder.iterdir() if is_network(file))
    return left, min(sizes, default=1500)


def _filter(file: Path, requests: Sequence[Request]) -> None:
    commit(requests, inside(file, table_socket))


def _tear_down(subnet: PodSubnet, folder: Path) -> None:
    for file in folder.iterdir():
        remove_network(file)
    remove_masquerade(subnet.table)
    Route().remove(subnet.bridge)


def _ways_out() -> list[str]:
    """The interfaces with a default route."""
    lines = Path("/proc/net/route").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return sorted({field[0] for field in fields if field[1] == field[7] == "00000000"})
