"""nftables as netlink messages: tables, chains, sets and the expressions of their rules.

The ``nft`` program is often not installed, and what we ask for is little. Requests are gathered
into one batch, which the kernel carries out as a whole or not at all. Names and numbers are those
of ``linux/netfilter/nf_tables.h``.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from kubeling.engine.net.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    NetlinkError,
    attribute,
    message,
    nest,
    transact_on,
)

__all__ = [
    "ACCEPT",
    "EQUAL",
    "GREATER_OR_EQUAL",
    "LESS_OR_EQUAL",
    "LOCAL_IN",
    "LOCAL_OUT",
    "MASQUERADE",
    "META_IIF",
    "META_L4PROTO",
    "META_OIF",
    "NOT_EQUAL",
    "POSTROUTING",
    "REJECT",
    "Hook",
    "Request",
    "add_chain",
    "add_elements",
    "add_rule",
    "add_set",
    "add_table",
    "bitwise",
    "commit",
    "compare",
    "ct_state",
    "delete_table",
    "lookup",
    "meta",
    "network_header",
    "new_table",
    "remove_table",
    "table_socket",
    "transport_header",
]

_NETLINK_NETFILTER: Final = 12
_SUBSYSTEM: Final = 10 << 8
_NEW_TABLE, _DEL_TABLE, _NEW_CHAIN, _NEW_RULE, _NEW_SET, _NEW_ELEMENTS = 0, 2, 3, 6, 9, 12
_BATCH_BEGIN, _BATCH_END = 16, 17
_APPEND: Final = 0x800
_INTERVAL: Final = 4
_INTERVAL_END: Final = 1
_AT_ONCE: Final = 1000
"""Elements in one message: an attribute holds 64 KiB."""

LOCAL_IN, LOCAL_OUT, POSTROUTING = 1, 3, 4
META_IIF, META_OIF, META_L4PROTO = 4, 5, 16
EQUAL, NOT_EQUAL, LESS_OR_EQUAL, GREATER_OR_EQUAL = 0, 1, 3, 5
_CT_STATE: Final = 0
_NF_ACCEPT: Final = 1
_UNREACHABLE, _ADMIN_PROHIBITED = 0, 13
_SO_SNDBUFFORCE: Final = 32
_BUFFER: Final = 4 << 20


class Request(NamedTuple):
    """One message of a batch."""

    kind: int
    flags: int
    body: bytes


class Hook(NamedTuple):
    """Where a chain is called from: its type, the kernel's hook and the priority."""

    type: str
    number: int
    priority: int


# --- tables, chains, rules, sets ------------------------------------------------------------


def new_table(table: str) -> list[Request]:
    """An empty table, in the place of one that may be there."""
    return [*delete_table(table), add_table(table)]


def add_table(table: str) -> Request:
    return Request(_NEW_TABLE, NLM_F_CREATE, attribute(1, _text(table)))


def delete_table(table: str) -> list[Request]:
    """Deletes the table, whether it is there or not."""
    return [add_table(table), Request(_DEL_TABLE, 0, attribute(1, _text(table)))]


def add_chain(table: str, chain: str, hook: Hook) -> Request:
    """A chain that accepts what none of its rules decides."""
    where = nest(4, _numbered(1, hook.number), _numbered(2, hook.priority))
    body = attribute(1, _text(table)) + attribute(3, _text(chain)) + where
    return Request(_NEW_CHAIN, NLM_F_CREATE, body + attribute(7, _text(hook.type)))


def add_rule(table: str, chain: str, *expressions: bytes) -> Request:
    """A rule at the chain's end."""
    body = attribute(1, _text(table)) + attribute(2, _text(chain)) + nest(4, *expressions)
    return Request(_NEW_RULE, NLM_F_CREATE | _APPEND, body)


def add_set(table: str, name: str, number: int, length: int, *, intervals: bool) -> Request:
    """A set of keys of so many bytes; ``number`` is its own within the batch."""
    flags = _numbered(3, _INTERVAL) if intervals else b""
    body = attribute(1, _text(table)) + attribute(2, _text(name)) + flags
    body += _numbered(4, 0) + _numbered(5, length) + _numbered(10, number)
    return Request(_NEW_SET, NLM_F_CREATE, body)


def add_elements(table: str, name: str, keys: Iterable[tuple[bytes, bool]]) -> Iterator[Request]:
    """Keys of a set; those marked end an interval, which they do not belong to."""
    elements = [_element(key, ends) for key, ends in keys]
    for start in range(0, len(elements), _AT_ONCE):
        listed = nest(3, *elements[start : start + _AT_ONCE])
        body = attribute(1, _text(table)) + attribute(2, _text(name)) + listed
        yield Request(_NEW_ELEMENTS, NLM_F_CREATE, body)


def _element(key: bytes, ends: bool) -> bytes:
    flags = _numbered(3, _INTERVAL_END) if ends else b""
    return nest(1, nest(1, attribute(1, key)), flags)


# --- expressions ----------------------------------------------------------------------------


def network_header(offset: int, length: int, register: int = 1) -> bytes:
    """Loads bytes of the IP header."""
    return _payload(1, offset, length, register)


def transport_header(offset: int, length: int, register: int = 1) -> bytes:
    """Loads bytes of the TCP, UDP or SCTP header."""
    return _payload(2, offset, length, register)


def meta(key: int, register: int = 1) -> bytes:
    return expression("meta", _numbered(1, register), _numbered(2, key))


def ct_state() -> bytes:
    return expression("ct", _numbered(1, 1), _numbered(2, _CT_STATE))


def bitwise(mask: bytes) -> bytes:
    """Keeps the bits of the mask."""
    zeros = bytes(len(mask))
    sizes = (_numbered(1, 1), _numbered(2, 1), _numbered(3, len(mask)))
    return expression("bitwise", *sizes, _data(4, mask), _data(5, zeros))


def compare(operator: int, value: bytes) -> bytes:
    return expression("cmp", _numbered(1, 1), _numbered(2, operator), _data(3, value))


def lookup(name: str) -> bytes:
    """Goes on if the set has what is loaded."""
    return expression("lookup", attribute(1, _text(name)), _numbered(2, 1))


def expression(name: str, *attributes: bytes) -> bytes:
    return nest(1, attribute(1, _text(name)), nest(2, *attributes))


def _payload(base: int, offset: int, length: int, register: int) -> bytes:
    place = (_numbered(2, base), _numbered(3, offset), _numbered(4, length))
    return expression("payload", _numbered(1, register), *place)


def _data(kind: int, value: bytes) -> bytes:
    return nest(kind, attribute(1, value))


def _numbered(kind: int, value: int) -> bytes:
    return attribute(kind, _number(value))


def _number(value: int) -> bytes:
    return struct.pack("!I", value)


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


MASQUERADE: Final = expression("masq")
ACCEPT: Final = expression("immediate", _numbered(1, 0), nest(2, nest(2, _numbered(1, _NF_ACCEPT))))
REJECT: Final = expression(
    "reject", _numbered(1, _UNREACHABLE), attribute(2, bytes([_ADMIN_PROHIBITED]))
)


# --- sending --------------------------------------------------------------------------------


def table_socket() -> socket.socket:
    """A way to the tables of the network the calling thread is in, wherever it is used."""
    if sys.platform != "linux":
        raise OSError("Linux only")
    channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    channel.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)
    return channel


def commit(requests: Sequence[Request], channel: socket.socket | None = None) -> None:
    """Carries out all of the requests or none; raises :class:`NetlinkError`."""
    with channel or table_socket() as used:
        transact_on(used, _batch(requests), 1)


def remove_table(table: str) -> None:
    """Removes the table, if it exists."""
    try:
        commit([Request(_DEL_TABLE, 0, attribute(1, _text(table)))])
    except NetlinkError as error:
        if error.errno != errno.ENOENT:
            raise


def _batch(requests: Sequence[Request]) -> bytes:
    """Only the last is acknowledged; those that fail are answered in any case, and before it."""
    head = struct.pack("!BBH", socket.AF_UNSPEC, 0, 10)
    family = struct.pack("!BBH", socket.AF_INET, 0, 0)
    parts = [message(_BATCH_BEGIN, NLM_F_REQUEST, head, 0)]
    for place, request in enumerate(requests, 1):
        flags = NLM_F_REQUEST | request.flags | (NLM_F_ACK if place == len(requests) else 0)
        parts.append(message(_SUBSYSTEM | request.kind, flags, family + request.body, place))
    parts.append(message(_BATCH_END, NLM_F_REQUEST, head, len(requests) + 1))
    return b"".join(parts)
