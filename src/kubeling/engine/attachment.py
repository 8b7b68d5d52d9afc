"""A client attached to a container's own command.

What the command says is read from its log, as it is written: a slow client then never holds up the
command, and one that comes back after a restart of the agent sees it go on. What the client types
goes through the FIFO that the supervisor reads (:mod:`.sandbox.keyboard`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator

from kubeling.engine.changes import FileChanges
from kubeling.engine.filestream import FileStream
from kubeling.engine.logs import follow_output
from kubeling.engine.runtime import Container
from kubeling.engine.sandbox import keyboard
from kubeling.kube.objects import Obj

__all__ = ["Attachment"]


class Attachment:
    """Implements :class:`~kubeling.engine.node_api.ExecSession` on what runs already.

    The first client of a container with ``stdinOnce`` is the one it was made for, and sees its
    output from the beginning; others see what follows. With ``stdinOnce`` and without a terminal
    the end of a client's input is the end of the container's.
    """

    def __init__(
        self, running: Container, container: Obj, changes: FileChanges, *, stdin: bool
    ) -> None:
        self._running = running
        self._changes = changes
        self._types = stdin and bool(container.get("stdin"))
        has_input = self._types or bool(container.get("tty"))
        self._input = _open_input(running) if has_input else None
        is_first = bool(container.get("stdinOnce")) and not running.attached
        self._start = 0 if is_first else running.paths.log.stat().st_size
        running.attached = True

    async def write(self, data: bytes) -> None:
        if self._input is None or not self._types:
            return
        for start in range(0, len(data), keyboard.LARGEST):
            piece = data[start : start + keyboard.LARGEST]
            if not await self._input.write(keyboard.message(keyboard.DATA, piece)):
                return

    def close_stdin(self) -> None:
        if self._input is not None:
            self._input.close()

    async def resize(self, columns: int, rows: int) -> None:
        if self._input is not None:
            await self._input.write(keyboard.size_message(columns, rows))

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        async for piece in follow_output(self._running.paths, self._changes, self._start):
            yield piece

    async def wait(self) -> int:
        """The end of the container; how it ended is for the pod's status to say."""
        await self._running.wait()
        return 0

    async def close(self) -> None:
        self.close_stdin()


def _open_input(running: Container) -> FileStream | None:
    """Our end of the container's FIFO; none where its input was for one client and is over."""
    try:
        return FileStream(os.open(running.paths.input, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None
