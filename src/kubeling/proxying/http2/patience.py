"""What a far side may ask of a connection without anything coming of it, before it is told to calm.

A frame of a few bytes costs its receiver more than its sender: streams that are opened and reset at
once (CVE-2023-44487), or made to be reset by an error of their own, and pings, settings, priorities
and empty frames that have to be answered or looked at. Clients do send such frames, with what they
ask and get: so each frame that carries something makes up for one that does not, and what goes out
to them for several. Some open two windows with each read, and read 4 KiB at a time (Go's).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hyperframe.frame import DataFrame, Frame, HeadersFrame

__all__ = ["FloodError", "Patience"]

_RESETS: Final = 1000
_RESETS_A_SECOND: Final = 100.0
_AT_ONCE_SECONDS: Final = 1.0
"""A client that has waited for longer may have had enough."""
_IDLE: Final = 10_000
_IDLE_A_SECOND: Final = 100.0
_PER_SENT: Final = 10
_BYTES_READ: Final = 1024
"""So much of what was sent is worth a frame more."""


class FloodError(ProtocolError):
    """There was too much of what comes to nothing."""

    error_code = ErrorCodes.ENHANCE_YOUR_CALM


class Patience:
    """Of one connection."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._resets = _Allowance(_RESETS, _RESETS_A_SECOND, clock)
        self._idle = _Allowance(_IDLE, _IDLE_A_SECOND, clock)

    def meet(self, frame: Frame) -> None:
        """A frame has come; raises :class:`FloodError`."""
        if isinstance(frame, HeadersFrame) or (isinstance(frame, DataFrame) and frame.data):
            self._idle.earn()
        else:
            self._idle.spend()

    def reset(self, lived: float) -> None:
        """A stream was reset that had lived for some seconds; raises :class:`FloodError`."""
        if lived < _AT_ONCE_SECONDS:
            self._resets.spend()

    def sent(self, size: int) -> None:
        """Data has gone out, which the far side may have something to say to, piece by piece."""
        self._idle.earn(_PER_SENT + size // _BYTES_READ)


class _Allowance:
    """So many at once, and so many more with each second."""

    def __init__(self, most: int, per_second: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._per_second = per_second
        self._clock = clock
        self._left = float(most)
        self._at = clock()

    def earn(self, frames: int = 1) -> None:
        self._left = min(self._left + frames, self._most)

    def spend(self) -> None:
        self._left -= 1
        if self._left >= 0:
            return
        now = self._clock()
        self._left = min(self._left + (now - self._at) * self._per_second, self._most)
        self._at = now
        if self._left < 0:
            raise FloodError("too many frames that come to nothing")
