"""What attached clients type: messages from a FIFO to a container's standard input.

The container's input must outlive the agent, so the supervisor holds it; agents come and go and
write messages of at most ``PIPE_BUF`` bytes, which the kernel never mixes or splits:
``<kind> <length, 2 bytes> <data>``. Where input is for one client only (``stdinOnce``), the FIFO's
own end, when the last writer has gone, is the end of the container's input.
"""

from __future__ import annotations

import os
import select

from kubeling.engine.sandbox import terminal

INPUT = "input"
DATA = b"d"
RESIZE = b"r"

_HEAD = 3
_CHUNK = 65536
LARGEST = select.PIPE_BUF - _HEAD
"""How much data fits into a message."""


def message(kind: bytes, data: bytes) -> bytes:
    """A message as it is written."""
    return kind + len(data).to_bytes(2, "little") + data


def size_message(columns: int, rows: int) -> bytes:
    """A message that tells the terminal's size."""
    return message(RESIZE, columns.to_bytes(2, "little") + rows.to_bytes(2, "little"))


def open_fifo(folder: int, *, once: bool) -> int:
    """The container's end of the FIFO, which ends with the first writers only if asked to."""
    mode = os.O_RDONLY if once else os.O_RDWR
    return os.open(INPUT, mode | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)


class Keyboard:
    """Passes on what is typed; reads on only when what was read before is taken.

    ``target`` is the pipe or terminal that the command reads. Either end is -1 once it is closed.
    """

    def __init__(self, fifo: int, target: int, *, is_terminal: bool) -> None:
        os.set_blocking(target, False)
        self.fifo = fifo
        self.target = target
        self.pending = b""
        self._rest = b""
        self._is_terminal = is_terminal

    @property
    def awaited(self) -> tuple[int, int]:
        """What to poll for: something typed, or room for what was."""
        if self.pending:
            return self.target, select.POLLOUT
        return self.fifo, select.POLLIN

    def move(self) -> None:
        """Goes on with what was awaited."""
        if not self.pending:
            self._read()
        self._write()

    def _read(self) -> None:
        try:
            data = os.read(self.fifo, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            os.close(self.fifo)
            self.fifo = -1
        data = self._rest + data
        while len(data) >= _HEAD and len(data) >= (end := _HEAD + _length(data)):
            self._take(data[:1], data[_HEAD:end])
            data = data[end:]
        self._rest = data

    def _take(self, kind: bytes, data: bytes) -> None:
        if self.target < 0:
            return
        if kind == DATA:
            self.pending += data
        elif self._is_terminal:
            columns, rows = data[:2], data[2:]
            terminal.resize(
                self.target, int.from_bytes(columns, "little"), int.from_bytes(rows, "little")
            )

    def _write(self) -> None:
        try:
            while self.pending:
                self.pending = self.pending[os.write(self.target, self.pending) :]
        except BlockingIOError:
            return
        except OSError:
            self._close()  # the command reads no more
        if self.fifo < 0:
            self._close()

    def _close(self) -> None:
        self.pending = b""
        if self.target >= 0:
            os.close(self.target)
            self.target = -1


def _length(data: bytes) -> int:
    return int.from_bytes(data[1:_HEAD], "little")
