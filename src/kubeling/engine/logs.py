"""Reading a container's log as ``kubectl logs`` asks for it.

The supervisor writes one record a line (see :mod:`.sandbox.pump`); records are found from the end
for ``tail`` and followed by file notification until the container's exit record appears.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

from kubeling.engine.changes import FileChanges
from kubeling.engine.paths import ContainerPaths

__all__ = ["LogOptions", "follow_output", "last_text", "read_log"]

_BLOCK: Final = 65536
_STAMP: Final = len("2026-01-01T00:00:00.000000000Z")
_HEAD: Final = _STAMP + len(" stdout F ")
_STREAM: Final = slice(_STAMP + 1, _STAMP + len(" stdout"))


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What to read; the defaults are everything there is now."""

    follow: bool = False
    tail_lines: int | None = None
    since: dt.datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None
    stream: Literal["", "stdout", "stderr"] = ""
    """The one of the two to read; both without."""


async def read_log(
    paths: ContainerPaths, changes: FileChanges, options: LogOptions
) -> AsyncIterator[bytes]:
    """Yields the log in pieces; with ``follow``, until the container has ended."""
    left = options.limit_bytes
    async for piece in _pieces(paths, changes, options):
        if left is not None:
            piece = piece[:left]
            left -= len(piece)
        if piece:
            yield piece
        if left == 0:
            return


async def follow_output(
    paths: ContainerPaths, changes: FileChanges, start: int
) -> AsyncIterator[tuple[int, bytes]]:
    """Yields what a container writes until it ends: ``(1, data)`` of standard output, ``(2, …)``.

    ``start`` is the size that the log had before what is wanted.
    """
    with paths.log.open("rb") as file:
        file.seek(start)
        splitter = _Splitter()
        async for block in _followed(file, paths, changes):
            for piece in splitter.split(block):
                yield piece


def last_text(log: Path, lines: int = 80, limit: int = 2048) -> str:
    """The end of a log, for messages."""
    try:
        with log.open("rb") as file:
            file.seek(_tail_offset(file, lines))
            text = b"".join(_Formatter(LogOptions()).format(file.read()))
    except FileNotFoundError:
        return ""
    return text[-limit:].decode(errors="replace")


async def _pieces(
    paths: ContainerPaths, changes: FileChanges, options: LogOptions
) -> AsyncIterator[bytes]:
    formatter = _Formatter(options)
    with paths.log.open("rb") as file:
        if options.tail_lines is not None:
            file.seek(_tail_offset(file, options.tail_lines))
        if not options.follow:
            while block := file.read(_BLOCK):
                yield b"".join(formatter.format(block))
            return
        async for block in _followed(file, paths, changes):
            yield b"".join(formatter.format(block))


async def _followed(
    file: BinaryIO, paths: ContainerPaths, changes: FileChanges
) -> AsyncIterator[bytes]:
    async with changes.of(paths.root) as changed:
        ended = False
        while not ended:
            changed.clear()
            ended = paths.exit.exists()  # before reading: nothing is written after it
            while block := file.read(_BLOCK):
                yield block
            if not ended:
                await changed.wait()


class _Formatter:
    """Turns records into what is shown; keeps a record that was read in part."""

    def __init__(self, options: LogOptions) -> None:
        since = options.since
        self._since = (
            since.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").encode() if since else b""
        )
        self._timestamps = options.timestamps
        self._stream = options.stream.encode()
        self._rest = b""
        self._at_start = True

    def format(self, block: bytes) -> Iterator[bytes]:
        *records, self._rest = (self._rest + block).split(b"\n")
        for record in records:
            if record[:_STAMP] < self._since:
                continue
            if self._stream and record[_STREAM] != self._stream:
                continue
            if self._timestamps and self._at_start:
                yield record[:_STAMP] + b" "
            yield record[_HEAD:]
            self._at_start = record[_HEAD - 2 : _HEAD - 1] == b"F"
            if self._at_start:
                yield b"\n"


class _Splitter:
    """Takes records apart into the two streams they came from."""

    def __init__(self) -> None:
        self._rest = b""

    def split(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        """The pieces in order, those of the same stream in one."""
        *records, self._rest = (self._rest + block).split(b"\n")
        for stream, group in itertools.groupby(records, key=_stream):
            yield stream, b"".join(map(_text, group))


def _stream(record: bytes) -> int:
    return 2 if record[_STREAM] == b"stderr" else 1


def _text(record: bytes) -> bytes:
    whole = record[_HEAD - 2 : _HEAD - 1] == b"F"
    return record[_HEAD:] + b"\n" if whole else record[_HEAD:]


def _tail_offset(file: BinaryIO, lines: int) -> int:
    """Where the last ``lines`` lines begin; a line may be several records, the last one ``F``."""
    end = file.seek(0, 2)
    position = end
    data = b""
    while position > 0:
        step = min(_BLOCK, position)
        position -= step
        file.seek(position)
        data = file.read(step) + data
        whole = data if position == 0 else data[data.find(b"\n") + 1 :]
        ends = _line_ends(whole)
        if len(ends) > lines:
            return end - len(whole) + ends[-lines - 1]
    return 0


def _line_ends(records: bytes) -> list[int]:
    """The offsets after each whole line; an unfinished last line counts as one."""
    ends = []
    position = 0
    whole = True
    for record in records.splitlines(keepends=True):
        position += len(record)
        whole = record[_HEAD - 2 : _HEAD - 1] == b"F"
        if whole:
            ends.append(position)
    return ends if whole else [*ends, position]
