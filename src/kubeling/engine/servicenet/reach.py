"""Brings the packets of the Services' range here, for exactly as long as the data plane lives.

Pods outlive its crash. A refusal in the time until there is another would fail a step that a
moment's patience saves, so nobody must answer at all: then name queries and connections are tried
again by whoever sent them. Hence the route that makes the range this machine's hangs on an
interface that the kernel removes when the process ends that holds it, however it ends, and beneath
it lies a second one that drops packets in silence.
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import logging
import os
import struct
from pathlib import Path
from typing import Final

from kubeling.engine.net.netlink import Route
from kubeling.engine.servicenet.anyip import (
    add_local_range,
    add_silent_range,
    remove_local_range,
    remove_silent_range,
)

__all__ = ["Reach"]

log = logging.getLogger(__name__)

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_LAST_FILES: Final = 900
"""Above the files of a platform at work, and below what a process may open everywhere."""


class Reach:
    """The routes of one instance's range; ``tether`` is what another process prepared."""

    def __init__(
        self, network: ipaddress.IPv4Network, data_dir: Path, tether: int | None = None
    ) -> None:
        tag = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:8]
        self._network = network
        self._interface = f"kl{tag}s"
        self._tether = tether

    @property
    def tether(self) -> int | None:
        """The descriptor that the range hangs on, if there is one."""
        return self._tether

    def let_go(self) -> None:
        """Another process holds the tether now."""
        if self._tether is not None:
            os.close(self._tether)
            self._tether = None

    def prepare(self) -> None:
        """Keeps the range for us, in silence; raises :class:`OSError` where that is not allowed.

        Where there are no such interfaces the range is this machine's at once, and stays so.
        """
        remove_local_range(self._network)
        try:
            self._tether = _tether(self._interface)
        except OSError as error:
            log.info("connections to services are refused while nobody forwards: %s", error)
            add_local_range(self._network)
        else:
            add_silent_range(self._network)

    def open(self) -> None:
        """Begins to receive: everything that answers is there."""
        if self._tether is not None:
            add_local_range(self._network, self._interface)

    def close(self) -> None:
        """Leaves nothing behind, of an earlier process either."""
        remove_local_range(self._network)
        remove_silent_range(self._network)
        self.let_go()


def _tether(name: str) -> int:
    """An interface that lasts as long as the descriptor.

    A process that ends closes its files in order. This one has a high number, so that connections
    are ended while their peers can still be told.
    """
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        wanted = struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(file, _TUNSETIFF, wanted)
        Route().switch_on(name)
        return fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _LAST_FILES)
    finally:
        os.close(file)
