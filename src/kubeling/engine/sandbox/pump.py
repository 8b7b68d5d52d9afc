"""From a container's output pipes to its log, one record a line, as the CRI writes them.

``2026-01-01T00:00:00.000000000Z stdout F text``: ``F`` ends a line, ``P`` is a piece of one. A
piece is written as soon as it arrives, so that a progress bar or a prompt can be followed.
"""

from __future__ import annotations

import os
import time

_CHUNK = 65536


class Pump:
    """Copies one pipe into the log, stamping each line with the time it arrived."""

    def __init__(self, pipe: int, log: int, stream: str) -> None:
        os.set_blocking(pipe, False)
        self.pipe = pipe
        self._log = log
        self._stream = stream

    def move(self) -> bool:
        """Copies what is there; returns whether more may come."""
        try:
            data = os.read(self.pipe, _CHUNK)
        except BlockingIOError:
            return True
        if data:
            _write_all(self._log, records(data, _stamp(time.time_ns()), self._stream))
        return bool(data)

    def drain(self) -> None:
        """Copies all that is left without waiting for more."""
        while True:
            try:
                data = os.read(self.pipe, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                return
            _write_all(self._log, records(data, _stamp(time.time_ns()), self._stream))


def records(data: bytes, stamp: str, stream: str) -> bytes:
    """The log records for a piece of output."""
    whole = f"{stamp} {stream} F ".encode()
    piece = f"{stamp} {stream} P ".encode()
    lines, newline, rest = data.rpartition(b"\n")
    out = whole + lines.replace(b"\n", b"\n" + whole) + b"\n" if newline else b""
    return out + piece + rest + b"\n" if rest else out


def _stamp(nanoseconds: int) -> str:
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    y, mo, d, h, mi, s, *_ = time.gmtime(seconds)
    return f"{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}.{fraction:09}Z"


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
