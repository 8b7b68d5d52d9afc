"""Waiting for files to change: inotify on Linux, a slow look elsewhere.

One inotify instance serves all who wait, because the system allows few of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

__all__ = ["FileChanges"]

_IN_MODIFY: Final = 0x2
_IN_MOVED_TO: Final = 0x80
_IN_CREATE: Final = 0x100
_EVENT: Final = struct.Struct("iIII")
_LOOK_SECONDS: Final = 0.25


class FileChanges:
    """Tells when something in a folder was written, created or renamed into it."""

    def __init__(self) -> None:
        self._file = -1
        self._events: dict[int, set[asyncio.Event]] = {}

    @contextlib.asynccontextmanager
    async def of(self, folder: Path) -> AsyncIterator[asyncio.Event]:
        """An event that is set at every change, until the block is left."""
        event = asyncio.Event()
        if sys.platform == "linux":
            with self._watch(folder, event):
                yield event
        else:
            looking = asyncio.create_task(_look(event))
            try:
                yield event
            finally:
                looking.cancel()

    def close(self) -> None:
        if self._file >= 0:
            asyncio.get_running_loop().remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    @contextlib.contextmanager
    def _watch(self, folder: Path, event: asyncio.Event) -> Iterator[None]:
        libc = ctypes.CDLL(None, use_errno=True)
        if self._file < 0:
            self._file = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            asyncio.get_running_loop().add_reader(self._file, self._read)
        mask = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE
        watch = libc.inotify_add_watch(self._file, os.fsencode(folder), mask)
        if watch < 0:
            raise OSError(ctypes.get_errno(), f"inotify: {folder}")
        self._events.setdefault(watch, set()).add(event)
        try:
            yield
        finally:
            waiting = self._events[watch]
            waiting.discard(event)
            if not waiting:
                del self._events[watch]
                libc.inotify_rm_watch(self._file, watch)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._file, 65536)
            position = 0
            while position < len(data):
                watch, _, _, length = _EVENT.unpack_from(data, position)
                position += _EVENT.size + length
                for event in self._events.get(watch, ()):
                    event.set()


async def _look(event: asyncio.Event) -> None:
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        event.set()
