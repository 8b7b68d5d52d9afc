"""Lets pods reach the world behind the machine's own address: one nftables table per instance.

In words::

    table ip kubeling-x { chain postrouting { type nat hook postrouting priority srcnat;
        ip saddr 10.244.7.0/24 oif != "bridge" masquerade } }
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from kubeling.engine.net import nftables as nft

__all__ = ["add_masquerade", "remove_masquerade"]

_CHAIN: Final = "postrouting"
_HOOK: Final = nft.Hook("nat", nft.POSTROUTING, 100)
_SOURCE_ADDRESS: Final = 12


def add_masquerade(table: str, network: str, prefix: int, bridge: str) -> None:
    """Hides the network's addresses behind the machine's for whatever leaves by other ways."""
    mask = struct.pack("!I", 0xFFFFFFFF << (32 - prefix) & 0xFFFFFFFF)
    rule = nft.add_rule(
        table,
        _CHAIN,
        nft.network_header(_SOURCE_ADDRESS, 4),
        nft.bitwise(mask),
        nft.compare(nft.EQUAL, socket.inet_aton(network)),
        nft.meta(nft.META_OIF),
        nft.compare(nft.NOT_EQUAL, struct.pack("=I", socket.if_nametoindex(bridge))),
        nft.MASQUERADE,
    )
    nft.commit([*nft.new_table(table), nft.add_chain(table, _CHAIN, _HOOK), rule])


def remove_masquerade(table: str) -> None:
    """Removes the table, if it exists."""
    nft.remove_table(table)
