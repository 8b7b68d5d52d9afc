"""Where this machine is reached from outside the cluster: for node ports and load balancers.

All its addresses are listened on one by one where the platform listens everywhere: a port that is
bound at ``0.0.0.0`` could not be bound at the address of a Service as well.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from dataclasses import dataclass

__all__ = ["NodeHosts", "node_hosts"]


@dataclass(frozen=True, slots=True)
class NodeHosts:
    """``listen`` are the addresses to listen on, ``shown`` the one that others are told."""

    listen: tuple[str, ...]
    shown: str


def node_hosts(host: str, gateway: str) -> NodeHosts:
    """For a platform that listens on ``host``, whose pods reach the machine at ``gateway``."""
    if not _is_wildcard(host):
        reachable = gateway if ipaddress.ip_address(host).is_loopback else host
        return NodeHosts(tuple(dict.fromkeys((gateway, host))), reachable)
    found = _all_addresses()
    outward = [a for a in found if a != gateway and not ipaddress.ip_address(a).is_loopback]
    listen = tuple(dict.fromkeys((gateway, *found)))
    return NodeHosts(listen, outward[0] if outward else gateway)


def _is_wildcard(host: str) -> bool:
    return host in ("", "0.0.0.0", "::")


def _all_addresses() -> list[str]:
    if sys.platform == "linux":
        from kubeling.engine.net.netlink import Route

        return Route().addresses()
    found = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
    return ["127.0.0.1", *(str(entry[4][0]) for entry in found)]
