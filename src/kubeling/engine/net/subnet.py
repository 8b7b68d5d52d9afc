"""Which /24 an instance's pods live in: chosen once, kept, and never one the machine knows."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PodSubnet", "choose_subnet"]


@dataclass(frozen=True, slots=True)
class PodSubnet:
    """One instance's pod network. ``tag`` makes the names of its kernel objects its own."""

    network: ipaddress.IPv4Network
    tag: str

    @property
    def gateway(self) -> str:
        """The machine's own address in the network, on the bridge."""
        return str(self.network[1])

    @property
    def bridge(self) -> str:
        return f"kl{self.tag}"

    @property
    def hardware_address(self) -> bytes:
        """The bridge's own, out of those that nobody is given by a maker."""
        return b"\x02\x6b" + bytes.fromhex(self.tag)

    @property
    def table(self) -> str:
        return f"kubeling-{self.tag}"

    def address(self, octet: int) -> str:
        return str(self.network[octet])

    def link(self, octet: int) -> str:
        """The machine's end of a pod's cable."""
        return f"kl{self.tag}p{octet}"


def choose_subnet(
    data_dir: Path, cidr: str, taken: Iterable[tuple[str, int]], previous: str = ""
) -> PodSubnet:
    """The instance's subnet: the previous one, else the first free one from a place by hash.

    Raises :class:`ValueError` when the whole range is in use.
    """
    digest = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()
    tag = digest[:8]
    if previous:
        return PodSubnet(ipaddress.IPv4Network(previous), tag)
    candidates = list(ipaddress.IPv4Network(cidr).subnets(new_prefix=24))
    routes = [ipaddress.IPv4Network(f"{a}/{p}", strict=False) for a, p in taken if p]
    start = int(digest[8:16], 16) % len(candidates)
    for network in candidates[start:] + candidates[:start]:
        if not any(network.overlaps(route) for route in routes):
            return PodSubnet(network, tag)
    raise ValueError(f"pod_cidr: every /24 of {cidr} is in use on this machine; set another range")
