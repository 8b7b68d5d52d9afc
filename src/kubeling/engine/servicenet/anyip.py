"""Makes a whole range of addresses this machine's own, with one route.

In words: ``ip route add local 10.96.16.0/20 dev lo table local``. Sockets may then be bound to any
address of the range, and nothing has to be added or removed as Services come and go.
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

__all__ = ["add_local_range", "remove_local_range"]

_NETLINK_ROUTE: Final = 0
_NEW_ROUTE, _DEL_ROUTE = 24, 25
_TABLE_LOCAL: Final = 255
_PROTOCOL_STATIC: Final = 4
_SCOPE_HOST: Final = 254
_TYPE_LOCAL: Final = 2
_DESTINATION, _INTERFACE = 1, 4


def add_local_range(network: ipaddress.IPv4Network) -> None:
    """Adds the route; one that is there already is fine. Raises :class:`OSError`."""
    with contextlib.suppress(FileExistsError):
        _request(_NEW_ROUTE, network, NLM_F_CREATE | NLM_F_EXCL)


def remove_local_range(network: ipaddress.IPv4Network) -> None:
    """Removes the route, if it is there."""
    with contextlib.suppress(NetlinkError):
        _request(_DEL_ROUTE, network, 0)


def _request(kind: int, network: ipaddress.IPv4Network, flags: int) -> None:
    head = struct.pack(
        "=BBBBBBBBI",
        socket.AF_INET,
        network.prefixlen,
        0,
        0,
        _TABLE_LOCAL,
        _PROTOCOL_STATIC,
        _SCOPE_HOST,
        _TYPE_LOCAL,
        0,
    )
    loopback = struct.pack("=I", socket.if_nametoindex("lo"))
    body = head + attribute(_DESTINATION, network.network_address.packed)
    body += attribute(_INTERFACE, loopback)
    transact(_NETLINK_ROUTE, message(kind, NLM_F_REQUEST | NLM_F_ACK | flags, body), 1)
