"""Makes a whole range of addresses this machine's own, with one route, or nobody's with another.

In words: ``ip route add local 10.96.16.0/20 dev lo table local``. Packets to any address of the
range then come here, and nothing has to be added or removed as Services come and go. And:
``ip route add blackhole 10.96.16.0/20``. Where the first does not hold, packets vanish unanswered.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from typing import Final

from kubeling.engine.net.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    NetlinkError,
    attribute,
    message,
    transact,
)

__all__ = ["add_local_range", "add_silent_range", "remove_local_range", "remove_silent_range"]

_NETLINK_ROUTE: Final = 0
_NEW_ROUTE, _DEL_ROUTE = 24, 25
_TABLE_MAIN, _TABLE_LOCAL = 254, 255
_PROTOCOL_STATIC: Final = 4
_SCOPE_UNIVERSE, _SCOPE_HOST = 0, 254
_TYPE_LOCAL, _TYPE_BLACKHOLE = 2, 6
_DESTINATION, _INTERFACE = 1, 4
_NEW_FLAGS: Final = NLM_F_CREATE | NLM_F_EXCL


def add_local_range(network: ipaddress.IPv4Network, interface: str = "lo") -> None:
    """Makes the range this machine's for as long as the interface lasts.

    A route that is there already is fine. Raises :class:`OSError`.
    """
    index = struct.pack("=I", socket.if_nametoindex(interface))
    with contextlib.suppress(FileExistsError):
        _request(_NEW_ROUTE, _local(network) + attribute(_INTERFACE, index), _NEW_FLAGS)


def remove_local_range(network: ipaddress.IPv4Network) -> None:
    """Removes the route, if it is there."""
    with contextlib.suppress(NetlinkError):
        _request(_DEL_ROUTE, _local(network), 0)


def add_silent_range(network: ipaddress.IPv4Network) -> None:
    """Drops packets to the range where it is nobody's. Raises :class:`OSError`."""
    with contextlib.suppress(FileExistsError):
        _request(_NEW_ROUTE, _silent(network), _NEW_FLAGS)


def remove_silent_range(network: ipaddress.IPv4Network) -> None:
    """Removes the route, if it is there."""
    with contextlib.suppress(NetlinkError):
        _request(_DEL_ROUTE, _silent(network), 0)


def _local(network: ipaddress.IPv4Network) -> bytes:
    return _route(network, _TABLE_LOCAL, _SCOPE_HOST, _TYPE_LOCAL)


def _silent(network: ipaddress.IPv4Network) -> bytes:
    return _route(network, _TABLE_MAIN, _SCOPE_UNIVERSE, _TYPE_BLACKHOLE)


def _route(network: ipaddress.IPv4Network, table: int, scope: int, kind: int) -> bytes:
    head = (socket.AF_INET, network.prefixlen, 0, 0, table, _PROTOCOL_STATIC, scope, kind, 0)
    packed = network.network_address.packed
    return struct.pack("=BBBBBBBBI", *head) + attribute(_DESTINATION, packed)


def _request(kind: int, body: bytes, flags: int) -> None:
    transact(_NETLINK_ROUTE, message(kind, NLM_F_REQUEST | NLM_F_ACK | flags, body), 1)
