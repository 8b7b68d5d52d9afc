"""The file that audit events go to: appended, turned over by size, and never in the way.

Lines of one turn of the event loop are written together. What cannot be written is lost, which is
said once, and once more when writing works again: a full disk must not stop the API.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import Final

from kubeling.kube.clock import Clock

__all__ = ["AuditFile"]

log = logging.getLogger(__name__)

_STANDARD_OUTPUT: Final = 1


class AuditFile:
    """Appends lines to a file, ``-`` for the standard output; keeps ``backups`` old ones."""

    def __init__(self, path: str, most_bytes: int, backups: int, clock: Clock) -> None:
        self._path = Path(path)
        self._most = most_bytes
        self._backups = backups
        self._clock = clock
        self._waiting: list[bytes] = []
        self._file = _STANDARD_OUTPUT if path == "-" else -1
        self._size = 0
        self._torn = False
        self._told = False
        self._lost = 0
        self._open_or_tell()

    def write(self, line: bytes) -> None:
        """Adds a line, soon."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(line)

    def flush(self) -> None:
        """Writes what waits."""
        lines, self._waiting = self._waiting, []
        if not lines:
            return
        text = b"\n".join(lines) + b"\n"
        try:
            self._append(b"\n" + text if self._torn else text)
        except OSError as error:
            self._tell(error)
            self._lost += len(lines)
            return
        if self._told:
            log.warning("the audit log %s is written again: %d events lost", self._path, self._lost)
        self._told, self._lost = False, 0

    def close(self) -> None:
        """Writes what waits and closes the file."""
        self.flush()
        if self._file > _STANDARD_OUTPUT:
            os.close(self._file)
            self._file = -1

    def _append(self, text: bytes) -> None:
        if self._file < 0:
            self._open()
        if self._file > _STANDARD_OUTPUT and self._size and self._size + len(text) > self._most:
            self._turn_over()
        written = 0
        try:
            while written < len(text):
                written += os.write(self._file, text[written:])
            self._torn = False
        except OSError:
            # What is there of a line would spoil the next one.
            self._torn = self._torn or written > 0
            raise
        finally:
            self._size += written

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._file).st_size

    def _turn_over(self) -> None:
        os.close(self._file)
        self._file = -1
        moment = f"{self._clock.now():%Y-%m-%dT%H-%M-%S.%f}"
        self._path.rename(self._path.with_name(f"{self._path.stem}-{moment}{self._path.suffix}"))
        self._open()
        pattern = f"{self._path.stem}-*{self._path.suffix}"
        kept = sorted(self._path.parent.glob(pattern))
        for old in kept[: max(len(kept) - self._backups, 0)]:
            with contextlib.suppress(FileNotFoundError):
                old.unlink()

    def _open_or_tell(self) -> None:
        if self._file < 0:
            try:
                self._open()
            except OSError as error:
                self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            log.error(
                "the audit log %s cannot be written: %s; requests are served all the same",
                self._path,
                error.strerror,
            )
