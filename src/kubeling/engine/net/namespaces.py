"""Making and removing one pod's network: a namespace kept by a mount, a cable to the bridge.

These calls move the thread they run in from one network to another, so they run in a thread of
their own (:mod:`.pool`), never on the event loop's.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from kubeling.engine.net.netlink import Route
from kubeling.engine.net.subnet import PodSubnet
from kubeling.engine.sandbox import linux

__all__ = ["add_network", "inside", "is_network", "open_socket", "remove_network"]

T = TypeVar("T")

_THREAD_NETWORK: Final = "/proc/thread-self/ns/net"
_INTERFACE: Final = "eth0"


def add_network(file: Path, subnet: PodSubnet, octet: int, mtu: int) -> None:
    """Makes a network with its address and default route; ``file`` keeps it alive."""
    route = Route()
    link = subnet.link(octet)
    route.remove(link)
    home = os.open(_THREAD_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.unshare(linux.CLONE_NEWNET)
        try:
            _configure()
            route.add_veth(_INTERFACE, link, home, mtu)
            route.switch_on("lo")
            _keep(file)
            linux.setns(home, linux.CLONE_NEWNET)
            route.attach(link, subnet.bridge)
            _into(file)
            route.add_address(_INTERFACE, subnet.address(octet), subnet.network.prefixlen)
            route.add_default_route(subnet.gateway)
        finally:
            linux.setns(home, linux.CLONE_NEWNET)
    finally:
        os.close(home)


def remove_network(file: Path) -> None:
    """Removes what :func:`add_network` made, as far as it is still there.

    The cable goes with the namespace, in the kernel's own time; asking for it would take 30 ms.
    """
    if is_network(file):
        linux.umount(str(file), linux.MNT_DETACH)
    file.unlink(missing_ok=True)


def open_socket(file: Path, family: socket.AddressFamily) -> socket.socket:
    """A TCP socket in a pod's network."""
    return inside(file, lambda: socket.socket(family))


def inside(file: Path, make: Callable[[], T]) -> T:
    """What ``make`` makes in a pod's network: a socket stays there wherever it is used."""
    home = os.open(_THREAD_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _into(file)
        try:
            return make()
        finally:
            linux.setns(home, linux.CLONE_NEWNET)
    finally:
        os.close(home)


def is_network(file: Path) -> bool:
    """Whether the file keeps a network alive: after a reboot only the plain file is left."""
    try:
        return file.stat().st_dev != file.parent.stat().st_dev
    except FileNotFoundError:
        return False


def _keep(file: Path) -> None:
    file.touch()
    linux.mount(_THREAD_NETWORK, str(file), flags=linux.MS_BIND)


def _into(file: Path) -> None:
    network = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(network, linux.CLONE_NEWNET)
    finally:
        os.close(network)


def _configure() -> None:
    """Pods have IPv4 addresses only: a link-local IPv6 one would only cost time to configure.

    Closed connections do not linger, or the next pod with this network could not listen on the
    ports of the last one. Every refusal by a network policy is told, not only a few a second.
    """
    for setting, value in (
        ("ipv6/conf/default/disable_ipv6", "1"),
        ("ipv4/tcp_max_tw_buckets", "0"),
        ("ipv4/icmp_ratelimit", "0"),
    ):
        with contextlib.suppress(OSError):
            Path("/proc/sys/net", setting).write_text(value)
