"""JSON lines in a folder: a file for each pod, rotated once, bounded on disk."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from kubeling.serving.requestlog.record import NO_JSON, Counts, Mode, Record

__all__ = ["FolderLog", "read_folder"]

log = logging.getLogger(__name__)

_MAX_BYTES: Final = 16 * 1024 * 1024
_FLUSH_SECONDS: Final = 0.2


class _Line(msgspec.Struct, gc=False):
    """A record as it is written."""

    id: str
    time: str
    model: str
    revision: str
    status: int
    request: Any
    response: Any


class FolderLog:
    """JSON lines in a folder; at most two files of ``max_bytes`` for each pod."""

    def __init__(
        self, folder: Path, mode: Mode, counts: Counts, max_bytes: int = _MAX_BYTES
    ) -> None:
        self._path = folder / f"{socket.gethostname()}-{os.getpid()}.jsonl"
        self._mode = mode
        self._counts = counts
        self._max = max_bytes
        self._file: IO[bytes] | None = None
        self._size = 0
        self._flush: asyncio.TimerHandle | None = None
        self._failing = False

    def add(self, record: Record) -> None:
        try:
            line = _line(record, self._mode)
            self._open(len(line)).write(line)
        except (OSError, *NO_JSON) as error:
            self._failed(error)
            return
        self._counts.written += 1
        self._size += len(line)
        if self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Writes out what is buffered."""
        self._flush = None
        if self._file is not None:
            try:
                self._file.flush()
                self._failing = False
            except OSError as error:
                self._failed(error)

    def close(self) -> None:
        """Writes out what is buffered and closes the file."""
        if self._flush is not None:
            self._flush.cancel()
        self.flush()
        if self._file is not None:
            self._file.close()

    def _failed(self, error: Exception) -> None:
        self._counts.dropped += 1
        if not self._failing:
            # Once, however many requests there are until it works again.
            self._failing = True
            log.warning("requests are not recorded at present: %s", error)

    def _open(self, coming: int) -> IO[bytes]:
        if self._file is not None and self._size + coming > self._max:
            self._file.close()
            self._path.replace(self._path.with_suffix(".1.jsonl"))
            self._file = None
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab")
            self._size = self._file.tell()
        return self._file


def read_folder(folder: Path) -> Iterator[bytes]:
    """The lines recorded in a folder, oldest file first; one that is rotated away is passed by."""
    for path in sorted(folder.glob("*.jsonl"), key=_written):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            continue
        with file:
            yield from file


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _line(record: Record, mode: Mode) -> bytes:
    line = _Line(
        record.id,
        record.time,
        record.model,
        record.revision,
        record.status,
        msgspec.UNSET if mode == "response" else record.request,
        msgspec.UNSET if mode == "request" else record.response,
    )
    return msgspec.json.encode(line) + b"\n"
