"""Finds out that the far side of a connection is gone, though nothing was closed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

__all__ = ["Silence", "keep_alive"]

_OPTIONS: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


class Silence:
    """Has a far side asked that says nothing for some seconds; gives it up after as many more."""

    def __init__(
        self, seconds: float, ask: Callable[[], None], give_up: Callable[[], None]
    ) -> None:
        self._seconds = seconds
        self._ask = ask
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._asked = False
        self._timer = self._loop.call_later(seconds, self._look)

    def heard(self) -> None:
        """The far side has said something, or taken what was sent."""
        self._heard_at, self._asked = self._loop.time(), False

    def end(self) -> None:
        """There is nobody to listen to any more."""
        self._timer.cancel()

    def _look(self) -> None:
        left = self._heard_at + self._seconds - self._loop.time()
        if left <= 0 and self._asked:
            self._give_up()
            return
        if left <= 0:
            self._asked = True
            self._ask()
        self._timer = self._loop.call_later(left if left > 0 else self._seconds, self._look)


def keep_alive(sock: socket.socket | None) -> None:
    """Lets the kernel find out that a machine is gone, within a minute."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _OPTIONS.items():
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
