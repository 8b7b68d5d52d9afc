"""Links, addresses and routes over rtnetlink.

A few messages of our own rather than a library: the established one takes 0.7 s and 30 MB to
import, more than the whole platform may take to start.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from typing import Final

__all__ = ["NetlinkError", "Route", "attribute", "nest", "transact", "transact_on"]

_NETLINK_ROUTE: Final = 0
NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
_NLM_F_DUMP: Final = 0x300
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NESTED: Final = 0x8000

_RTM_NEWLINK, _RTM_DELLINK, _RTM_SETLINK = 16, 17, 19
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_RTM_NEWROUTE, _RTM_GETROUTE = 24, 26
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER = 1, 3, 4, 10
_IFLA_LINKINFO, _IFLA_NET_NS_FD = 18, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFF_UP: Final = 1


class NetlinkError(OSError):
    """The kernel refused a request."""


def attribute(kind: int, value: bytes) -> bytes:
    """One netlink attribute, padded."""
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + b"\0" * (-length % 4)


def nest(kind: int, *attributes: bytes) -> bytes:
    """Attributes inside an attribute."""
    return attribute(kind | _NESTED, b"".join(attributes))


def message(kind: int, flags: int, body: bytes, sequence: int = 1) -> bytes:
    """One netlink message."""
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def transact(protocol: int, data: bytes, answers: int) -> None:
    """Sends messages and waits for their acknowledgements; raises :class:`NetlinkError`."""
    if sys.platform != "linux":
        raise OSError("Linux only")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as channel:
        transact_on(channel, data, answers)


def transact_on(channel: socket.socket, data: bytes, answers: int) -> None:
    """The same over a socket that may have been opened in another network namespace."""
    channel.bind((0, 0))
    channel.send(data)
    while answers > 0:
        for kind, body in _messages(channel.recv(65536)):
            if kind == _NLMSG_ERROR:
                _raise_for(struct.unpack_from("=i", body)[0])
                answers -= 1


class Route:
    """The network namespace of the calling thread at the time of each call."""

    def add_bridge(self, name: str) -> None:
        info = nest(_IFLA_LINKINFO, attribute(_IFLA_INFO_KIND, b"bridge"))
        self._request(_RTM_NEWLINK, _link(0, up=True) + _name(name) + info, create=True)

    def set_hardware_address(self, name: str, address: bytes) -> None:
        """Gives an interface one that stays, whatever else is attached to it."""
        link = _link(socket.if_nametoindex(name), up=True)
        self._request(_RTM_SETLINK, link + attribute(_IFLA_ADDRESS, address))

    def add_veth(self, name: str, peer: str, peer_namespace: int, mtu: int) -> None:
        """A pair of interfaces: ``name`` here, ``peer`` in the namespace of the descriptor."""
        size = attribute(_IFLA_MTU, struct.pack("=I", mtu))
        other = _link(0, up=False) + _name(peer) + size
        other += attribute(_IFLA_NET_NS_FD, struct.pack("=i", peer_namespace))
        info = nest(
            _IFLA_LINKINFO,
            attribute(_IFLA_INFO_KIND, b"veth"),
            nest(_IFLA_INFO_DATA, attribute(_VETH_INFO_PEER, other)),
        )
        self._request(_RTM_NEWLINK, _link(0, up=True) + _name(name) + size + info, create=True)

    def attach(self, name: str, bridge: str) -> None:
        """Puts an interface on a bridge and switches it on."""
        master = attribute(_IFLA_MASTER, struct.pack("=I", socket.if_nametoindex(bridge)))
        self._request(_RTM_SETLINK, _link(socket.if_nametoindex(name), up=True) + master)

    def switch_on(self, name: str) -> None:
        self._request(_RTM_SETLINK, _link(socket.if_nametoindex(name), up=True))

    def remove(self, name: str) -> None:
        """Removes an interface (and its peer), if it exists."""
        if self.exists(name):
            self._request(_RTM_DELLINK, _link(socket.if_nametoindex(name), up=False))

    def exists(self, name: str) -> bool:
        return any(name == known for _, known in socket.if_nameindex())

    def add_address(self, name: str, address: str, prefix: int) -> None:
        """Gives an interface an IPv4 address; one it has already is fine."""
        packed = socket.inet_aton(address)
        head = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, 0, socket.if_nametoindex(name))
        body = head + attribute(2, packed) + attribute(1, packed)
        try:
            self._request(_RTM_NEWADDR, body, create=True)
        except FileExistsError:
            return

    def add_default_route(self, gateway: str) -> None:
        head = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 254, 4, 0, 1, 0)
        body = head + attribute(5, socket.inet_aton(gateway))
        self._request(_RTM_NEWROUTE, body, create=True)

    def destinations(self) -> list[tuple[str, int]]:
        """The IPv4 networks this machine has routes to, without the default one."""
        head = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        bodies = _dump(_RTM_GETROUTE, _RTM_NEWROUTE, head)
        found = ((_address(1, 12, body), body[1]) for body in bodies)
        return [(address, prefix) for address, prefix in found if address]

    def addresses(self) -> list[str]:
        """The IPv4 addresses of this machine's interfaces."""
        head = struct.pack("=BBBBI", socket.AF_INET, 0, 0, 0, 0)
        bodies = _dump(_RTM_GETADDR, _RTM_NEWADDR, head)
        return [address for body in bodies if (address := _address(2, 8, body))]

    def _request(self, kind: int, body: bytes, *, create: bool = False) -> None:
        flags = NLM_F_REQUEST | NLM_F_ACK
        if create:
            flags |= NLM_F_CREATE | NLM_F_EXCL
        transact(_NETLINK_ROUTE, message(kind, flags, body), 1)


def _link(index: int, *, up: bool) -> bytes:
    state = _IFF_UP if up else 0
    return struct.pack("=BBHiII", socket.AF_UNSPEC, 0, 0, index, state, _IFF_UP if up else 0)


def _name(name: str) -> bytes:
    return attribute(_IFLA_IFNAME, name.encode() + b"\0")


def _messages(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        found.append((kind, data[16:length]))
        data = data[(length + 3) & ~3 :]
    return found


def _dump(question: int, answer: int, head: bytes) -> list[bytes]:
    found: list[bytes] = []
    if sys.platform != "linux":
        raise OSError("Linux only")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as channel:
        channel.bind((0, 0))
        channel.send(message(question, NLM_F_REQUEST | _NLM_F_DUMP, head))
        done = False
        while not done:
            for kind, body in _messages(channel.recv(65536)):
                done = done or kind == _NLMSG_DONE
                if kind == answer:
                    found.append(body)
    return found


def _address(wanted: int, position: int, body: bytes) -> str:
    """The IPv4 address in an attribute; the attributes begin at ``position``."""
    while position + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, position)
        if kind == wanted:
            return socket.inet_ntoa(body[position + 4 : position + length])
        position += (length + 3) & ~3
    return ""


def _raise_for(code: int) -> None:
    if code == -errno.EEXIST:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    if code:
        raise NetlinkError(-code, os.strerror(-code))
