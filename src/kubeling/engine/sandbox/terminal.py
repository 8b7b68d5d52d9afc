"""The terminal of a container, or of a command in one, made inside: its ``/dev/pts`` is private."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kubeling.engine.sandbox.plan import Credentials


def open_terminal(user: Credentials) -> tuple[int, int]:
    """A new terminal as ``(our end, the command's end)``; the command's belongs to its user."""
    ours, theirs = os.openpty()
    if user["uid"] is not None:
        os.fchown(theirs, user["uid"], -1)
    return ours, theirs


def control(file: int) -> None:
    """Makes the terminal that of the calling session: it gets its signals from now on."""
    fcntl.ioctl(file, termios.TIOCSCTTY, 0)


def resize(file: int, columns: int, rows: int) -> None:
    """Sets the size; the programs on the terminal are told."""
    size = struct.pack("HHHH", min(rows, 0xFFFF), min(columns, 0xFFFF), 0, 0)
    fcntl.ioctl(file, termios.TIOCSWINSZ, size)
