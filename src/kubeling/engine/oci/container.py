"""A running container of podman or docker, and how its end is found out.

The client attached to it knows when it ended and little more, so the engine is asked how. That is
written down in the place of the client's own record before anybody is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final
from uuid import uuid4

import msgspec

from kubeling.engine.containers import Exit, RunningContainer, read_exit, write_exit
from kubeling.engine.logs import last_text
from kubeling.engine.oci.client import ContainerEngine, EngineError, client_env
from kubeling.engine.oci.records import EngineRecord, write_engine_record
from kubeling.engine.oci.state import NOT_STARTED, State, inspect, remove, seconds_of
from kubeling.engine.paths import ContainerPaths
from kubeling.engine.sandbox.plan import Credentials, ExecPlan
from kubeling.engine.sandbox.supervisor import OUT_OF_MEMORY, START_ERROR

__all__ = ["NOBODY", "EngineContainer", "no_detaching"]

_EXEC: Final = re.compile(r'exec: "[^"]*": [^:]*')
_MARK: Final = "KUBELING_EXEC"
_TERMINATE: Final = "SIGTERM"
NOBODY: Final = Credentials(
    uid=None,
    gid=None,
    groups=[],
    mapped_uid=0,
    mapped_gid=0,
    capabilities=None,
    no_new_privileges=False,
)


class EngineContainer:
    """Implements :class:`~kubeling.engine.runtime.Container`."""

    def __init__(
        self,
        record: EngineRecord,
        client: RunningContainer | Exit,
        paths: ContainerPaths,
        started: State | None = None,
    ) -> None:
        self.paths = paths
        self.attached = False
        self.pid = record.pid
        self.started_at = seconds_of(started.started_at if started else "") or client.started_at
        self._record = record
        self._engine = record.client
        self._client = client
        self._settling: asyncio.Task[Exit] | None = None
        self._calls: set[asyncio.Task[None]] = set()

    async def wait_begun(self) -> None:
        """A container is handed out once it runs."""

    async def wait(self) -> Exit:
        if self._settling is None:
            self._settling = asyncio.create_task(self._settle(), name=f"end {self._record.name}")
        return await asyncio.shield(self._settling)

    async def _settle(self) -> Exit:
        if isinstance(self._client, RunningContainer):
            await self._client.wait()
        return await _settle_end(self._record, self.paths)

    def on_end(self, call: Callable[[], None]) -> Callable[[], None]:
        if isinstance(self._client, RunningContainer):
            return self._client.on_end(call)
        call()
        return lambda: None

    def signal(self, number: int) -> None:
        known = signal.Signals(number).name
        wanted = self._record.stop_signal if known == _TERMINATE else known
        self._call(self._send(wanted or known))

    def kill(self) -> None:
        self._call(self._send("SIGKILL"))

    def exec_plan(self, command: Sequence[str], *, tty: bool = False) -> ExecPlan:
        terminal = ["--tty", "--env", "TERM=xterm"] if tty else []
        options = ["--interactive", *terminal, *no_detaching(self._engine), "--env", _MARK]
        return ExecPlan(
            target=os.getpid(),
            namespaces=0,
            argv=[str(self._engine.program), "exec", *options, self._record.name, *command],
            env={**client_env(), _MARK: uuid4().hex},
            cwd="/",
            credentials=NOBODY,
            tty=tty,
            join=[],
        )

    async def call_off(self, plan: ExecPlan) -> None:
        """The engine lets a command run on whose client is gone: its processes are looked for."""
        if sys.platform == "linux":
            mark = f"{_MARK}={plan['env'][_MARK]}".encode()
            await asyncio.to_thread(_kill_marked, mark)

    def release(self) -> None:
        for task in (*self._calls, *((self._settling,) if self._settling else ())):
            task.cancel()
        if isinstance(self._client, RunningContainer):
            self._client.release()

    async def _send(self, name: str) -> None:
        # It may be ending this very moment; whatever else is wrong, its end is still watched.
        with contextlib.suppress(EngineError):
            await self._engine.run("kill", "--signal", name, self._record.name)

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"signal {self._record.name}")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)


def no_detaching(engine: ContainerEngine) -> list[str]:
    """No keys end a client; docker knows no such setting, only keys that nobody presses."""
    keys = "" if engine.name == "podman" else "ctrl-^,ctrl-],ctrl-^,ctrl-]"
    return [f"--detach-keys={keys}"]


def _kill_marked(mark: bytes) -> None:
    """Kills all processes that a variable marks, until there are no more of them."""
    found = True
    while found:
        found = False
        for entry in os.scandir("/proc"):
            # It may be another user's, or have ended meanwhile.
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and _is_marked(entry.path, mark):
                    os.kill(int(entry.name), signal.SIGKILL)
                    found = True


def _is_marked(process: str, mark: bytes) -> bool:
    with open(f"{process}/environ", "rb") as file:
        return mark in file.read().split(b"\0")


async def _settle_end(record: EngineRecord, paths: ContainerPaths) -> Exit:
    """Finds out how a container ended whose client is gone, writes that down and removes it.

    A container that runs on without its client, which somebody has killed, is killed as well:
    nobody would keep its log.
    """
    seen = await _ended_state(record)
    ended = _exit_of(paths, seen)
    write_exit(paths, ended)
    await remove(record)
    write_engine_record(paths, msgspec.structs.replace(record, settled=True))
    return ended


def _exit_of(paths: ContainerPaths, seen: State | None) -> Exit:
    said = read_exit(paths)
    assert said is not None, "a client that is gone has left a record, or its loss was recorded"
    if seen is None:
        return said
    if seen.status in NOT_STARTED or not seconds_of(seen.started_at):
        said_why = seen.error or last_text(paths.log)
        paths.log.write_bytes(b"")  # the client's own words, not the container's
        code, message = _refusal(said_why)
        return msgspec.structs.replace(said, exit_code=code, reason=START_ERROR, message=message)
    return Exit(
        seen.exit_code,
        0,
        OUT_OF_MEMORY if seen.out_of_memory and seen.exit_code else "",
        "",
        seconds_of(seen.started_at),
        seconds_of(seen.finished_at) or said.finished_at,
    )


def _refusal(text: str) -> tuple[int, str]:
    """Why a command could not be executed, as the shell counts it, from a runtime's many words."""
    message = " ".join(text.split()).removeprefix("Error: ")
    if found := _EXEC.search(message):
        message = found[0]
    small = message.lower()
    if "not found" in small or "no such file" in small:
        return 127, message
    return (126 if "permission denied" in small else 128), message


async def _ended_state(record: EngineRecord) -> State | None:
    try:
        seen = await inspect(record)
        if seen.running:
            await record.client.run("kill", "--signal", "SIGKILL", record.name)
            await record.client.run("wait", record.name)
            seen = await inspect(record)
    except EngineError:
        return None
    return seen
