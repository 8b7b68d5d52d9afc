"""Sets of IPv4 addresses as spans of numbers: sorted, apart from each other, both ends within.

The kernel's interval sets and a binary search read the same thing.
"""

from __future__ import annotations

import bisect
import ipaddress
import socket
from collections.abc import Iterable

__all__ = ["Spans", "contains", "number_of", "spans_of_block", "united"]

Spans = tuple[tuple[int, int], ...]


def number_of(address: str) -> int:
    """An IPv4 address as a number; raises :class:`OSError` for anything else."""
    return int.from_bytes(socket.inet_aton(address))


def united(spans: Iterable[tuple[int, int]]) -> Spans:
    """Spans in any order as a set."""
    result: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], last))
        else:
            result.append((first, last))
    return tuple(result)


def spans_of_block(cidr: str, exceptions: Iterable[str] = ()) -> Spans:
    """A block without its exceptions; pods have no IPv6, so such a block is empty."""
    block = _bounds(cidr)
    if block is None:
        return ()
    position, end = block
    result = []
    for first, last in united(found for text in exceptions if (found := _bounds(text))):
        if position < first:
            result.append((position, min(first - 1, end)))
        position = max(position, last + 1)
    if position <= end:
        result.append((position, end))
    return tuple(result)


def contains(spans: Spans, address: int) -> bool:
    place = bisect.bisect_right(spans, (address, 1 << 32)) - 1
    return place >= 0 and spans[place][0] <= address <= spans[place][1]


def _bounds(cidr: str) -> tuple[int, int] | None:
    network = ipaddress.ip_network(cidr, strict=False)
    if network.version != 4:
        return None
    return int(network.network_address), int(network.broadcast_address)
