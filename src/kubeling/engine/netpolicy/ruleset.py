"""A pod's allowances as nftables in its own network.

In words, for each direction in which something is not allowed::

    chain input { type filter hook input priority filter; policy accept;
        iif lo accept
        ct state established,related accept
        tcp flags & (fin|syn|rst|ack) != syn accept      # connections older than the policy go on
        ip saddr @node accept
        meta l4proto tcp ip saddr @peers1 th dport 80-90 accept
        reject with icmp admin-prohibited }

They are in the pod's network and not on the bridge, because packets between pods pass the
machine's hooks only where the module ``br_netfilter`` is loaded. A connection that is not allowed
is refused at once rather than left to time out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kubeling.engine.net import nftables as nft
from kubeling.engine.netpolicy.isolation import OPEN, Allow, Isolation, Ports
from kubeling.engine.netpolicy.spans import Spans
from kubeling.engine.netpolicy.verdicts import Place

__all__ = ["Filter", "requests"]

_TABLE: Final = "kubeling-policy"
_PRIORITY: Final = 0
_LOOPBACK: Final = struct.pack("=I", 1)
_SOURCE, _DESTINATION = 12, 16
_DESTINATION_PORT: Final = 2
_TCP_FLAGS: Final = 13
_FIN_SYN_RST_ACK, _SYN = b"\x17", b"\x02"
_ESTABLISHED_OR_RELATED: Final = struct.pack("=I", 2 | 4)
_PROTOCOLS: Final = {"TCP": 6, "UDP": 17, "SCTP": 132}
_END: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Filter:
    """All that one pod's network lets through.

    ``closed`` are places of Services that would lead nowhere the pod may go.
    """

    isolation: Isolation = OPEN
    closed: tuple[Place, ...] = ()
    node: Spans = ()

    @property
    def empty(self) -> bool:
        return self.isolation == OPEN and not self.closed


def requests(wanted: Filter) -> list[nft.Request]:
    """Puts the filter in the place of the one before, in one step."""
    if wanted.empty:
        return nft.delete_table(_TABLE)
    return _Writer(wanted).written


class _Writer:
    def __init__(self, wanted: Filter) -> None:
        self.written = nft.new_table(_TABLE)
        self._sets = 0
        self._node = self._addresses(wanted.node)
        if wanted.isolation.ingress is not None:
            self._open("input", nft.LOCAL_IN, nft.META_IIF)
            self._only("input", _SOURCE, wanted.isolation.ingress)
        if wanted.isolation.egress is not None or wanted.closed:
            self._open("output", nft.LOCAL_OUT, nft.META_OIF)
            if wanted.closed:
                self._close(wanted.closed)
            if wanted.isolation.egress is not None:
                self._only("output", _DESTINATION, wanted.isolation.egress)

    def _open(self, chain: str, hook: int, interface: int) -> None:
        """What passes in any case: the pod's talk with itself, and connections that exist."""
        self.written.append(nft.add_chain(_TABLE, chain, nft.Hook("filter", hook, _PRIORITY)))
        self._rule(chain, nft.meta(interface), nft.compare(nft.EQUAL, _LOOPBACK), nft.ACCEPT)
        self._rule(
            chain,
            nft.ct_state(),
            nft.bitwise(_ESTABLISHED_OR_RELATED),
            nft.compare(nft.NOT_EQUAL, bytes(4)),
            nft.ACCEPT,
        )
        self._rule(
            chain,
            *_protocol("TCP"),
            nft.transport_header(_TCP_FLAGS, 1),
            nft.bitwise(_FIN_SYN_RST_ACK),
            nft.compare(nft.NOT_EQUAL, _SYN),
            nft.ACCEPT,
        )

    def _close(self, closed: tuple[Place, ...]) -> None:
        keys = [struct.pack("!IB3xH2x", a, _PROTOCOLS[p], n) for p, a, n in closed]
        title = self._set(12, [(key, False) for key in keys], intervals=False)
        self._rule(
            "output",
            nft.network_header(_DESTINATION, 4),
            nft.meta(nft.META_L4PROTO, 9),
            nft.transport_header(_DESTINATION_PORT, 2, 10),
            nft.lookup(title),
            nft.REJECT,
        )

    def _only(self, chain: str, peer: int, allowed: tuple[Allow, ...]) -> None:
        self._rule(chain, nft.network_header(peer, 4), nft.lookup(self._node), nft.ACCEPT)
        for allow in allowed:
            among: tuple[bytes, ...] = ()
            if allow.peers is not None:
                among = (nft.network_header(peer, 4), nft.lookup(self._addresses(allow.peers)))
            if allow.ports is None:
                self._rule(chain, *among, nft.ACCEPT)
            for ports in allow.ports or ():
                self._rule(chain, *among, *_to_ports(ports), nft.ACCEPT)
        self._rule(chain, nft.REJECT)

    def _rule(self, chain: str, *expressions: bytes) -> None:
        self.written.append(nft.add_rule(_TABLE, chain, *expressions))

    def _addresses(self, spans: Spans) -> str:
        return self._set(4, list(_bounds(spans)), intervals=True)

    def _set(self, length: int, keys: list[tuple[bytes, bool]], *, intervals: bool) -> str:
        self._sets += 1
        title = f"set{self._sets}"
        self.written.append(nft.add_set(_TABLE, title, self._sets, length, intervals=intervals))
        self.written += nft.add_elements(_TABLE, title, keys)
        return title


def _bounds(spans: Spans) -> Iterator[tuple[bytes, bool]]:
    for first, last in spans:
        yield struct.pack("!I", first), False
        if last + 1 < _END:
            yield struct.pack("!I", last + 1), True


def _protocol(name: str) -> tuple[bytes, bytes]:
    return nft.meta(nft.META_L4PROTO), nft.compare(nft.EQUAL, bytes([_PROTOCOLS[name]]))


def _to_ports(ports: Ports) -> tuple[bytes, ...]:
    if (ports.first, ports.last) == (0, 65535):
        return _protocol(ports.protocol)
    return (
        *_protocol(ports.protocol),
        nft.transport_header(_DESTINATION_PORT, 2),
        nft.compare(nft.GREATER_OR_EQUAL, struct.pack("!H", ports.first)),
        nft.compare(nft.LESS_OR_EQUAL, struct.pack("!H", ports.last)),
    )
