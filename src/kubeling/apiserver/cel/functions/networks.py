"""Addresses and ranges of addresses."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import ClassVar, Final

from kubeling.apiserver.cel.errors import EvalError
from kubeling.apiserver.cel.library import Library

__all__ = ["NETWORKS"]

NETWORKS: Final = Library()
define = NETWORKS.define


@dataclass(frozen=True, slots=True)
class Ip:
    """An address."""

    cel_name: ClassVar[str] = "net.IP"
    address: ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Cidr:
    """A range, and the address it was written with."""

    cel_name: ClassVar[str] = "net.CIDR"
    interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface


@define("ip(string) -> IP")
def _ip(text: str) -> Ip:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise EvalError(f'IP Address "{text}" parse error during conversion from string') from None
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address.scope_id):
        raise EvalError(f'IP Address "{text}": IPv4-mapped and zoned addresses are not allowed')
    return Ip(address)


@define("cidr(string) -> CIDR")
def _cidr(text: str) -> Cidr:
    try:
        if "/" in text and text.rpartition("/")[2].isdigit():
            return Cidr(ipaddress.ip_interface(text))
    except ValueError:
        pass
    raise EvalError(
        f'network address parse error during conversion from string: network "{text}" is not a CIDR'
    )


@define("isIP(string) -> bool")
def _is_ip(text: str) -> bool:
    try:
        _ip(text)
    except EvalError:
        return False
    return True


@define("isCIDR(string) -> bool")
def _is_cidr(text: str) -> bool:
    try:
        _cidr(text)
    except EvalError:
        return False
    return True


def _contains(cidr: Cidr, other: Cidr) -> bool:
    mine, theirs = cidr.interface.network, other.interface.network
    return (
        mine.version == theirs.version
        and mine.prefixlen <= theirs.prefixlen
        and other.interface.ip in mine
    )


define(".ip.isCanonical(string) -> bool")(lambda text: str(_ip(text).address) == text)
define("IP.family() -> int")(lambda ip: ip.address.version)
define("IP.isUnspecified() -> bool")(lambda ip: ip.address.is_unspecified)
define("IP.isLoopback() -> bool")(lambda ip: ip.address.is_loopback)
define("IP.isLinkLocalMulticast() -> bool")(
    lambda ip: (
        ip.address
        in ipaddress.ip_network("224.0.0.0/24" if ip.address.version == 4 else "ff02::/16")
    )
)
define("IP.isLinkLocalUnicast() -> bool")(lambda ip: ip.address.is_link_local)
define("IP.isGlobalUnicast() -> bool")(
    lambda ip: (
        not (
            ip.address.is_unspecified
            or ip.address.is_loopback
            or ip.address.is_multicast
            or ip.address.is_link_local
        )
    )
)
define("string(IP) -> string")(lambda ip: str(ip.address))
define("string(CIDR) -> string")(lambda cidr: str(cidr.interface))
define("CIDR.containsIP(IP) -> bool")(lambda cidr, ip: ip.address in cidr.interface.network)
define("CIDR.containsIP(string) -> bool")(
    lambda cidr, text: _ip(text).address in cidr.interface.network
)
define("CIDR.containsCIDR(CIDR) -> bool")(_contains)
define("CIDR.containsCIDR(string) -> bool")(lambda cidr, text: _contains(cidr, _cidr(text)))
define("CIDR.ip() -> IP")(lambda cidr: Ip(cidr.interface.ip))
define("CIDR.masked() -> CIDR")(
    lambda cidr: Cidr(ipaddress.ip_interface(str(cidr.interface.network)))
)
define("CIDR.prefixLength() -> int")(lambda cidr: cidr.interface.network.prefixlen)
