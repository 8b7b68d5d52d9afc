"""Container instances as the agent sees them: started, found again, waited for, signalled.

Everything durable is in the instance's folder, written by its supervisor; what is here can be lost
and built again by :meth:`Supervisors.find`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from kubeling.engine.launcher import Launcher, LaunchError
from kubeling.engine.layers import Layer, Layers
from kubeling.engine.paths import ContainerPaths
from kubeling.engine.sandbox import linux
from kubeling.engine.sandbox.plan import ExecPlan, LaunchPlan
from kubeling.engine.sandbox.supervisor import FORKED, descendants
from kubeling.engine.trees import remove_tree

__all__ = ["Exit", "RunningContainer", "Supervisors", "read_exit", "read_plan", "write_exit"]


class Exit(msgspec.Struct, frozen=True):
    """How a container ended; ``reason`` is set only if its command never ran."""

    exit_code: int
    signal: int
    reason: str
    message: str
    started_at: float
    finished_at: float


class _State(msgspec.Struct, frozen=True):
    pid: int
    started_at: float
    plan: LaunchPlan


class RunningContainer:
    """A container whose supervisor lives; must be created on the event loop.

    Implements :class:`~kubeling.engine.runtime.Container`.
    ``alone`` says that its processes have ids of their own and cannot outlive the supervisor.
    """

    def __init__(
        self, paths: ContainerPaths, pid: int, started_at: float, alive: int, *, alone: bool
    ) -> None:
        self.paths = paths
        self._alone = alone
        self.pid = pid
        self.tidy = alone
        """Whether nothing of it can be left once it has ended."""
        self.attached = False
        """Whether a client has been attached to it."""
        self.started_at = started_at
        self._alive = alive
        self._loop = asyncio.get_running_loop()
        self._begun: asyncio.Future[bool] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(alive, self._read)

    async def wait_begun(self) -> None:
        """Waits until the command runs inside its walls (or never will)."""
        await asyncio.shield(self._begun)

    def on_begin(self, call: Callable[[bool], None]) -> None:
        """Calls once the command runs, and says whether it was forked from a template."""
        self._begun.add_done_callback(lambda begun: call(begun.result()))

    async def wait(self) -> Exit:
        """Waits for the end; safe to call many times and to cancel."""
        await asyncio.shield(self._ended)
        if (found := read_exit(self.paths)) is not None:
            return found
        self.tidy = False
        return _record_loss(self.paths, self.started_at)

    def on_end(self, call: Callable[[], None]) -> Callable[[], None]:
        """Calls once it has ended; what is returned calls that off."""

        def tell(_: asyncio.Future[None]) -> None:
            call()

        self._ended.add_done_callback(tell)
        return lambda: _drop(self._ended, tell)

    @property
    def ended(self) -> bool:
        return self._ended.done()

    def signal(self, number: int) -> None:
        """Sends a signal, which the supervisor hands on."""
        if not self.ended:
            # It may be ending this very moment.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def assume_begun(self) -> None:
        """For a container started by an earlier agent, which has heard the news."""
        self._set_begun(forked=False)

    def kill(self) -> None:
        """Ends the container with all its processes, now."""
        if not self._alone:
            for pid in _below(self.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.signal(signal.SIGKILL)

    def exec_plan(self, command: Sequence[str], *, tty: bool = False) -> ExecPlan:
        """How to run a command as the container's own was run."""
        self.tidy = False  # the command may outlive it for a moment
        launched = read_plan(self.paths)
        namespaces = launched["namespaces"] | launched["joined"]
        if launched["network"]:
            namespaces |= linux.CLONE_NEWNET
        return ExecPlan(
            target=self.pid,
            namespaces=namespaces,
            argv=list(command),
            env={**launched["env"], "TERM": "xterm"} if tty else launched["env"],
            cwd=launched["cwd"],
            credentials=launched["credentials"],
            tty=tty,
            join=launched["limits"]["join"],
        )

    async def call_off(self, plan: ExecPlan) -> None:
        """The sandbox has seen to that: its end of the connection tells."""

    def release(self) -> None:
        """Stops watching; the container runs on."""
        if self._alive >= 0:
            self._loop.remove_reader(self._alive)
            os.close(self._alive)
            self._alive = -1

    def _read(self) -> None:
        """A byte says that the command runs; the end of the FIFO, that the supervisor is gone."""
        try:
            data = os.read(self._alive, 16)
        except BlockingIOError:
            return
        self._set_begun(forked=data[:1] == FORKED)
        if not data:
            self.release()
            self._ended.set_result(None)

    def _set_begun(self, *, forked: bool) -> None:
        if not self._begun.done():
            self._begun.set_result(forked)


class Supervisors:
    """Starts containers through a zygote and finds those started earlier."""

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher
        self.layers: Layers | None = None
        """Where containers get layers from, if not each makes its own."""
        self._in_layers: dict[Path, RunningContainer] = {}

    async def start(
        self,
        plan: LaunchPlan,
        template: Sequence[int] = (),
        waiting: socket.socket | None = None,
    ) -> RunningContainer:
        """Starts a container; its folder must exist and be empty but for what the plan mounts.

        If the plan has ``warm``, ``template`` is the way there. ``waiting`` is the way to a
        supervisor that stands by.
        Raises :class:`~kubeling.engine.launcher.LaunchError` if no supervisor could be had. All
        later trouble is in the container's exit record.
        """
        paths = ContainerPaths(Path(plan["directory"]))
        layer = await self._furnish(plan, paths)
        try:
            files = (*template, *(layer.files if layer else ()))
            running = await self._launch(plan, paths, files, waiting)
        except BaseException:
            self._give_back(paths, reuse=False)
            raise
        finally:
            if layer is not None:
                layer.handed_over()
        if layer is not None:
            self._in_layers[paths.root] = running
        return running

    async def _furnish(self, plan: LaunchPlan, paths: ContainerPaths) -> Layer | None:
        """A layer for what the container will change, or folders of its own."""
        if (root := plan["root"]) is None:
            return None
        layer = await self.layers.furnish(plan, root) if self.layers else None
        if layer is None:
            paths.files.mkdir(exist_ok=True)
            paths.tmp.mkdir()
            paths.tmp.chmod(0o1777)
        return layer

    def _give_back(self, paths: ContainerPaths, *, reuse: bool) -> bool:
        return self.layers is not None and self.layers.give_back(paths.root, reuse=reuse)

    async def clean_up(self, paths: ContainerPaths) -> None:
        """What a container changed in its private root goes with it; log and records stay."""
        ended = self._in_layers.pop(paths.root, None)
        if ended is None or not self._give_back(paths, reuse=ended.tidy):
            await asyncio.to_thread(_drop_changes, paths)

    async def _launch(
        self,
        plan: LaunchPlan,
        paths: ContainerPaths,
        files: Sequence[int],
        waiting: socket.socket | None,
    ) -> RunningContainer:
        os.mkfifo(paths.alive, 0o600)
        if plan["stdin"] or plan["tty"]:
            os.mkfifo(paths.input, 0o600)
        if waiting is not None:
            try:
                return await self._begin(plan, paths, files, waiting)
            except LaunchError:
                if self.find(paths) is not None:
                    raise
            # It had ended before it heard of the container.
        return await self._begin(plan, paths, files)

    async def _begin(
        self,
        plan: LaunchPlan,
        paths: ContainerPaths,
        files: Sequence[int],
        waiting: socket.socket | None = None,
    ) -> RunningContainer:
        alive = os.open(paths.alive, os.O_RDONLY | os.O_NONBLOCK)
        try:
            pid = await self.launcher.launch(plan, files, waiting)
        except LaunchError:
            # The answer may have been lost, not the container.
            os.close(alive)
            found = self.find(paths)
            if isinstance(found, RunningContainer):
                return found
            raise
        except BaseException:
            os.close(alive)
            raise
        return RunningContainer(paths, pid, time.time(), alive, alone=_is_alone(plan))

    def find(self, paths: ContainerPaths) -> RunningContainer | Exit | None:
        """What became of an instance: still running, ended, or never started (``None``)."""
        if (ended := read_exit(paths)) is not None:
            return ended
        try:
            alive = os.open(paths.alive, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        try:
            state = msgspec.json.decode(paths.state.read_bytes(), type=_State)
        except FileNotFoundError:
            os.close(alive)
            return None
        if _has_writer(alive):
            alone = _is_alone(state.plan)
            found = RunningContainer(paths, state.pid, state.started_at, alive, alone=alone)
            found.assume_begun()
            return found
        os.close(alive)
        return read_exit(paths) or _record_loss(paths, state.started_at)

    def close(self) -> None:
        """Lets go of what is kept for containers to come."""
        if self.layers is not None:
            self.layers.close()

    async def end(self, paths: ContainerPaths) -> None:
        """Kills an instance, if it runs, and waits until it is gone."""
        found = self.find(paths)
        if isinstance(found, RunningContainer):
            found.kill()
            await found.wait()


def read_exit(paths: ContainerPaths) -> Exit | None:
    """The exit record, if the container has left one."""
    try:
        return msgspec.json.decode(paths.exit.read_bytes(), type=Exit)
    except FileNotFoundError:
        return None


def read_plan(paths: ContainerPaths) -> LaunchPlan:
    """The plan of a container that was started."""
    return msgspec.json.decode(paths.state.read_bytes(), type=_State).plan


def write_exit(paths: ContainerPaths, ended: Exit) -> None:
    """Replaces the record that a supervisor has left, or should have."""
    temporary = paths.exit.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(ended))
    temporary.rename(paths.exit)


def _record_loss(paths: ContainerPaths, started_at: float) -> Exit:
    """A supervisor that left no record was killed, and its container with it."""
    lost = Exit(128 + signal.SIGKILL, signal.SIGKILL, "", "", started_at, time.time())
    with contextlib.suppress(OSError):  # no room: it is found out again
        write_exit(paths, lost)
    return lost


def _drop_changes(paths: ContainerPaths) -> None:
    root = read_plan(paths)["root"]
    if root is not None:
        # Of an earlier agent the container may have a layer, which is not kept any more.
        for folder in (Path(root["directory"]), paths.tmp):
            if folder.exists():
                remove_tree(folder)


def _drop(ended: asyncio.Future[None], call: Callable[[asyncio.Future[None]], None]) -> None:
    ended.remove_done_callback(call)


def _is_alone(plan: LaunchPlan) -> bool:
    return bool(plan["namespaces"] & linux.CLONE_NEWPID)


def _below(pid: int) -> list[int]:
    if sys.platform == "linux":
        return descendants(pid)
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _has_writer(fifo: int) -> bool:
    try:
        return os.read(fifo, 1) != b""
    except BlockingIOError:
        return True
