"""Sockets at the addresses of Services.

``early`` binds to an address that is not this machine's yet, as those of the Services' range are
until all of them answer.
"""

from __future__ import annotations

import socket
from typing import Final

__all__ = ["BACKLOG", "listener", "receiver"]

BACKLOG: Final = 1024
"""Callers at once; a server has to be given it, too, which else sets its own."""
_IP_FREEBIND: Final = 15


def listener(host: str, port: int, *, early: bool = False) -> socket.socket:
    """A TCP socket that takes connections; raises :class:`OSError`."""
    channel = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(channel, host, port, early)
        channel.listen(BACKLOG)
    except OSError:
        channel.close()
        raise
    return channel


def receiver(host: str, port: int, *, early: bool = False) -> socket.socket:
    """A UDP socket; raises :class:`OSError`."""
    channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        _bind(channel, host, port, early)
    except OSError:
        channel.close()
        raise
    return channel


def _bind(channel: socket.socket, host: str, port: int, early: bool) -> None:
    channel.setblocking(False)
    if early:
        channel.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    channel.bind((host, port))
