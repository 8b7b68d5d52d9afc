"""A command in a running container, with its standard files as asynchronous streams.

It ends with the container, also where that has no process ids of its own to see to it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Final

from kubeling.engine.filestream import FileStream
from kubeling.engine.launcher import Execution, Launcher, LaunchError
from kubeling.engine.runtime import Container
from kubeling.engine.sandbox import terminal
from kubeling.engine.sandbox.plan import ExecPlan
from kubeling.kube.errors import BadRequest

__all__ = ["PipedExecution", "TerminalExecution"]

_PIECES: Final = 4
"""How many pieces of output are read ahead of whoever takes them."""


class PipedExecution:
    """Implements :class:`~kubeling.engine.node_api.ExecSession` over pipes."""

    def __init__(
        self,
        execution: Execution,
        plan: ExecPlan,
        running: Container,
        files: tuple[int, int, int],
    ) -> None:
        stdin, stdout, stderr = files
        self._execution = execution
        self._plan = plan
        self._running = running
        self._forget = running.on_end(execution.kill)
        self._stdin = FileStream(stdin) if stdin >= 0 else None
        self._outputs = {1: FileStream(stdout), 2: FileStream(stderr)}

    @classmethod
    async def start(
        cls, launcher: Launcher, plan: ExecPlan, running: Container, *, stdin: bool
    ) -> PipedExecution:
        """Starts the command; without ``stdin`` it reads from nothing."""
        with ExitStack() as failing, ExitStack() as theirs:
            if stdin:
                in_end, ours = os.pipe()
                failing.callback(os.close, ours)
            else:
                in_end, ours = os.open(os.devnull, os.O_RDONLY), -1
            theirs.callback(os.close, in_end)
            out, out_end = os.pipe()
            failing.callback(os.close, out)
            theirs.callback(os.close, out_end)
            err, err_end = os.pipe()
            failing.callback(os.close, err)
            theirs.callback(os.close, err_end)
            execution = await launcher.execute(plan, (in_end, out_end, err_end))
            failing.pop_all()
            return cls(execution, plan, running, (ours, out, err))

    async def write(self, data: bytes) -> None:
        if self._stdin is not None and not await self._stdin.write(data):
            self.close_stdin()

    def close_stdin(self) -> None:
        if self._stdin is not None:
            self._stdin.close()

    async def resize(self, columns: int, rows: int) -> None:
        """Pipes have no size."""

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        queue: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(_PIECES)
        readers = [
            asyncio.create_task(_read(stream, file, queue))
            for stream, file in self._outputs.items()
        ]
        try:
            open_streams = len(readers)
            while open_streams:
                stream, data = await queue.get()
                if data:
                    yield stream, data
                else:
                    open_streams -= 1
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    async def wait(self) -> int:
        return await _exit_code(self._execution)

    async def close(self) -> None:
        self._forget()
        self._execution.close()
        self.close_stdin()
        for file in self._outputs.values():
            file.close()
        if not self._execution.over:
            await self._running.call_off(self._plan)


class TerminalExecution:
    """Implements :class:`~kubeling.engine.node_api.ExecSession` over a terminal.

    A terminal's input has no end of its own: who types it sends the end-of-file character.
    """

    def __init__(self, execution: Execution, plan: ExecPlan, running: Container, file: int) -> None:
        self._execution = execution
        self._plan = plan
        self._running = running
        self._forget = running.on_end(execution.kill)
        self._terminal = FileStream(file)

    @classmethod
    async def start(
        cls, launcher: Launcher, plan: ExecPlan, running: Container
    ) -> TerminalExecution:
        """Starts the command of a plan with ``tty``."""
        execution = await launcher.execute(plan, ())
        try:
            return cls(execution, plan, running, await execution.terminal())
        except LaunchError as error:
            execution.close()
            raise _unable(error) from error
        except BaseException:
            execution.close()
            raise

    async def write(self, data: bytes) -> None:
        await self._terminal.write(data)

    def close_stdin(self) -> None:
        """There is nothing to close."""

    async def resize(self, columns: int, rows: int) -> None:
        if self._terminal.file >= 0:
            terminal.resize(self._terminal.file, columns, rows)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        while data := await self._terminal.read():
            yield 1, data

    async def wait(self) -> int:
        return await _exit_code(self._execution)

    async def close(self) -> None:
        self._forget()
        self._execution.close()
        self._terminal.close()
        if not self._execution.over:
            await self._running.call_off(self._plan)


async def _read(stream: int, file: FileStream, queue: asyncio.Queue[tuple[int, bytes]]) -> None:
    data = b"\0"
    while data:
        data = await file.read()
        await queue.put((stream, data))


async def _exit_code(execution: Execution) -> int:
    try:
        return await execution.wait()
    except LaunchError as error:
        raise _unable(error) from error


def _unable(error: LaunchError) -> BadRequest:
    return BadRequest(f"the command could not be run: {error}")
