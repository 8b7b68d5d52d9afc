"""Which addresses an instance's Services have: chosen once, kept, and nobody else's.

As root on Linux any private range does: one route makes all of it this machine's own, so pods in
networks of their own reach it through their gateway. Elsewhere the range is part of the loopback
network, which is always this machine's.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["ServiceRange", "choose_range"]

_ROUTED: Final = ipaddress.IPv4Network("10.96.0.0/12")
_LOOPBACK: Final = ipaddress.IPv4Network("127.96.0.0/12")
_PREFIX: Final = 20


@dataclass(frozen=True, slots=True)
class ServiceRange:
    """One instance's range. Services get addresses from the tenth on."""

    network: ipaddress.IPv4Network

    @property
    def cidr(self) -> str:
        """For the API server, which gives the addresses out."""
        return str(self.network)

    @property
    def api_address(self) -> str:
        """The API's own, which Kubernetes gives the first of the range."""
        return str(self.network[1])

    @property
    def dns_address(self) -> str:
        """Where pods find their name server."""
        return str(self.network[2])

    @property
    def routed(self) -> bool:
        """Whether a route has to make the range this machine's."""
        return not self.network.is_loopback


def choose_range(
    data_dir: Path, taken: Iterable[tuple[str, int]], previous: str = "", *, routed: bool
) -> ServiceRange:
    """The previous range if it is of the right sort, else the first free one from a place by hash.

    Raises :class:`ValueError` when every candidate is in use.
    """
    whole = _ROUTED if routed else _LOOPBACK
    if previous and (known := ipaddress.IPv4Network(previous)).subnet_of(whole):
        return ServiceRange(known)
    digest = hashlib.sha256(str(data_dir.resolve()).encode()).digest()
    candidates = list(whole.subnets(new_prefix=_PREFIX))
    start = int.from_bytes(digest[:4]) % len(candidates)
    routes = [ipaddress.IPv4Network(f"{a}/{p}", strict=False) for a, p in taken if p]
    for network in candidates[start:] + candidates[:start]:
        if not routed or not any(network.overlaps(route) for route in routes):
            return ServiceRange(network)
    raise ValueError(f"every /{_PREFIX} of {whole} is in use on this machine")
