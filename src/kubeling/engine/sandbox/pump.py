"""From a container's output pipes to its log, one record a line, as the CRI writes them.

``2026-01-01T00:00:00.000000000Z stdout F text``: ``F`` ends a line, ``P`` is a piece of one. As in
containerd a line is written when it is whole, so that standard output and standard error do not
mix within one. Other than there, a piece is written too when nothing follows it for a moment, so
that a progress bar or a prompt can be followed; what a terminal shows is written at once.
"""

from __future__ import annotations

import errno
import os
import time

from kubeling.engine.sandbox.patience import write_all

_CHUNK = 65536
_LONGEST_PIECE = 16384


class Log:
    """The log of one container, which its streams share.

    A line that one stream has begun in a piece ends where the other stream comes in.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._unfinished = ""

    def write(self, stream: str, data: bytes) -> None:
        """Appends what a stream said."""
        stamp = _stamp(time.time_ns())
        end = b""
        if self._unfinished not in ("", stream):
            end = f"{stamp} {self._unfinished} F \n".encode()
        write_all(self._file, end + records(data, stamp, stream))
        self._unfinished = "" if data.endswith(b"\n") else stream


class Pump:
    """Copies one pipe into the log, stamping each line with the time it arrived.

    ``at_once`` holds nothing back, for a terminal.
    """

    def __init__(self, pipe: int, log: Log, stream: str, *, at_once: bool = False) -> None:
        os.set_blocking(pipe, False)
        self.pipe = pipe
        self.holds = b""
        self._log = log
        self._stream = stream
        self._at_once = at_once

    def move(self) -> bool:
        """Copies the whole lines that are there; returns whether more may come."""
        data = self._read()
        if data is None:
            return True
        lines, newline, rest = (self.holds + data).rpartition(b"\n")
        if newline:
            self._log.write(self._stream, lines + newline)
        self.holds = rest
        if self._at_once or len(rest) > _LONGEST_PIECE:
            self.flush()
        return bool(data)

    def flush(self) -> None:
        """Writes the piece of a line that is held back."""
        if self.holds:
            self._log.write(self._stream, self.holds)
            self.holds = b""

    def drain(self) -> None:
        """Copies all that is left without waiting for more."""
        while data := self._read():
            self.holds += data
        self.flush()

    def _read(self) -> bytes | None:
        """What is there now: ``None`` for nothing yet, no bytes at the end."""
        try:
            return os.read(self.pipe, _CHUNK)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b""  # nobody has the terminal open any more


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
