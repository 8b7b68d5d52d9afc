"""A command in a running container, with its standard files as asynchronous streams."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Final

from kubeling.engine.launcher import Execution, Launcher, LaunchError
from kubeling.engine.sandbox.plan import ExecPlan
from kubeling.kube.errors import BadRequest

__all__ = ["PipedExecution"]

_CHUNK: Final = 65536


class PipedExecution:
    """Implements :class:`~kubeling.engine.node_api.ExecSession` over pipes."""

    def __init__(self, execution: Execution, stdin: int, stdout: int, stderr: int) -> None:
        self._execution = execution
        self._stdin = stdin
        self._outputs = {1: stdout, 2: stderr}
        for file in (stdin, stdout, stderr):
            if file >= 0:
                os.set_blocking(file, False)

    @classmethod
    async def start(cls, launcher: Launcher, plan: ExecPlan, *, stdin: bool) -> PipedExecution:
        """Starts the command; without ``stdin`` it reads from nothing."""
        if stdin:
            in_end, ours = os.pipe()
        else:
            in_end, ours = os.open(os.devnull, os.O_RDONLY), -1
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        try:
            execution = await launcher.execute(plan, (in_end, out_end, err_end))
        finally:
            for file in (in_end, out_end, err_end):
                os.close(file)
        return cls(execution, ours, out, err)

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._stdin >= 0:
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                await _ready(self._stdin, writing=True)
            except BrokenPipeError:
                return  # the command does not read any more

    def close_stdin(self) -> None:
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        queue: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(16)
        readers = [
            asyncio.create_task(self._read(stream, file, queue))
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
        try:
            return await self._execution.wait()
        except LaunchError as error:
            raise BadRequest(f"the command could not be run: {error}") from error

    async def close(self) -> None:
        self._execution.close()
        self.close_stdin()
        for file in self._outputs.values():
            os.close(file)
        self._outputs.clear()

    async def _read(self, stream: int, file: int, queue: asyncio.Queue[tuple[int, bytes]]) -> None:
        data = b"\0"
        while data:
            try:
                data = os.read(file, _CHUNK)
            except BlockingIOError:
                await _ready(file)
                continue
            await queue.put((stream, data))


async def _ready(file: int, *, writing: bool = False) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    add, remove = (
        (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    )
    add(file, tell)
    try:
        await ready
    finally:
        remove(file)
