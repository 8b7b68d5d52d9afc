"""Lets pods reach the world behind the machine's own address: one nftables table per instance.

Written as netlink messages because the ``nft`` program is often not installed. In words::

    table ip kubeling-x { chain postrouting { type nat hook postrouting priority srcnat;
        ip saddr 10.244.7.0/24 oif != "bridge" masquerade } }
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

from kubeling.engine.net.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    NetlinkError,
    attribute,
    message,
    nest,
    transact,
)

__all__ = ["add_masquerade", "remove_masquerade"]

_NETLINK_NETFILTER: Final = 12
_SUBSYSTEM: Final = 10 << 8
_NEW_TABLE, _DEL_TABLE, _NEW_CHAIN, _NEW_RULE = 0, 2, 3, 6
_BATCH_BEGIN, _BATCH_END = 16, 17
_IPV4: Final = socket.AF_INET
_APPEND: Final = 0x800
_POSTROUTING: Final = 4
_SOURCE_NAT: Final = 100
_REGISTER: Final = 1
_EQUAL, _NOT_EQUAL = 0, 1
_META_OIF: Final = 5


def add_masquerade(table: str, network: str, prefix: int, bridge: str) -> None:
    """Hides the network's addresses behind the machine's for whatever leaves by other ways."""
    remove_masquerade(table)
    _batch(
        _request(_NEW_TABLE, attribute(1, _text(table)), NLM_F_CREATE),
        _request(_NEW_CHAIN, _chain(table), NLM_F_CREATE),
        _request(_NEW_RULE, _rule(table, network, prefix, bridge), NLM_F_CREATE | _APPEND),
    )


def remove_masquerade(table: str) -> None:
    """Removes the table, if it exists."""
    try:
        _batch(_request(_DEL_TABLE, attribute(1, _text(table)), 0))
    except NetlinkError as error:
        if error.errno != errno.ENOENT:
            raise


def _chain(table: str) -> bytes:
    hook = nest(4, attribute(1, _number(_POSTROUTING)), attribute(2, _number(_SOURCE_NAT)))
    return (
        attribute(1, _text(table))
        + attribute(3, _text("postrouting"))
        + hook
        + attribute(7, _text("nat"))
    )


def _rule(table: str, network: str, prefix: int, bridge: str) -> bytes:
    mask = struct.pack("!I", 0xFFFFFFFF << (32 - prefix) & 0xFFFFFFFF)
    index = struct.pack("=I", socket.if_nametoindex(bridge))
    expressions = nest(
        4,
        _expression("payload", _to(1), _numbered(2, 1), _numbered(3, 12), _numbered(4, 4)),
        _expression(
            "bitwise", _to(1), _to(2), _numbered(3, 4), _data(4, mask), _data(5, b"\0" * 4)
        ),
        _compare(_EQUAL, socket.inet_aton(network)),
        _expression("meta", _numbered(1, _REGISTER), _numbered(2, _META_OIF)),
        _compare(_NOT_EQUAL, index),
        _expression("masq"),
    )
    return attribute(1, _text(table)) + attribute(2, _text("postrouting")) + expressions


def _compare(operator: int, value: bytes) -> bytes:
    return _expression("cmp", _to(1), _numbered(2, operator), _data(3, value))


def _expression(name: str, *attributes: bytes) -> bytes:
    data = nest(2, *attributes) if attributes else nest(2)
    return nest(1, attribute(1, _text(name)), data)


def _to(kind: int) -> bytes:
    return _numbered(kind, _REGISTER)


def _numbered(kind: int, value: int) -> bytes:
    return attribute(kind, _number(value))


def _data(kind: int, value: bytes) -> bytes:
    return nest(kind, attribute(1, value))


def _number(value: int) -> bytes:
    return struct.pack("!I", value)


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _request(kind: int, body: bytes, flags: int) -> tuple[int, int, bytes]:
    head = struct.pack("!BBH", _IPV4, 0, 0)
    return _SUBSYSTEM | kind, NLM_F_REQUEST | NLM_F_ACK | flags, head + body


def _batch(*requests: tuple[int, int, bytes]) -> None:
    head = struct.pack("!BBH", socket.AF_UNSPEC, 0, 10)
    data = message(_BATCH_BEGIN, NLM_F_REQUEST, head, 0)
    for number, (kind, flags, body) in enumerate(requests, 1):
        data += message(kind, flags, body, number)
    data += message(_BATCH_END, NLM_F_REQUEST, head, len(requests) + 1)
    transact(_NETLINK_NETFILTER, data, len(requests))
