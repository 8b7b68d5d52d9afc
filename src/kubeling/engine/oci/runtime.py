"""Containers of podman or docker as a pod runtime.

A container is made by the engine's client and started by a second client that stays attached to it.
That one runs under a supervisor like any process (:mod:`..containers`), without walls: log, input,
terminal and the news of the end are the same as for processes, and like them need nobody of the
platform. The engine alone knows how the container ended, so it is asked before the end is told, and
then the container is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import signal
from typing import Final

import msgspec

from kubeling.engine.cgroups import Bounds
from kubeling.engine.containers import Exit, RunningContainer, Supervisors
from kubeling.engine.launcher import LaunchError
from kubeling.engine.oci.arguments import (
    container_name,
    create_arguments,
    limit_arguments,
    variables_by_name,
)
from kubeling.engine.oci.client import EngineError, client_env
from kubeling.engine.oci.container import NOBODY, EngineContainer, no_detaching
from kubeling.engine.oci.images import ContainerImage
from kubeling.engine.oci.records import EngineRecord, read_engine_record, write_engine_record
from kubeling.engine.oci.state import NOT_STARTED, State, inspect, remove
from kubeling.engine.paths import ContainerPaths
from kubeling.engine.runtime import Attempt
from kubeling.engine.sandbox.plan import LaunchPlan, Limits

__all__ = ["EngineRuntime"]

_FIRST_LOOK: Final = 0.02
_LAST_LOOK: Final = 0.2
_UNLIMITED: Final = Limits(join=[], events="", memory=0)


class EngineRuntime:
    """Implements :class:`~kubeling.engine.runtime.PodRuntime`."""

    def __init__(self, supervisors: Supervisors) -> None:
        self._supervisors = supervisors

    async def start(self, attempt: Attempt) -> EngineContainer:
        image, paths = attempt.parts.image, attempt.paths
        assert image is not None, "who has no image is a process"
        record = _make_folder(image, attempt)
        try:
            await _create(image, attempt, record)
            await _make_working_folder(attempt, record)
            client = await self._supervisors.start(_client_plan(record, attempt))
        except EngineError as error:
            raise LaunchError(str(error)) from error
        except LaunchError:
            await remove(record)
            raise
        try:
            started = await _started(record, client)
        except asyncio.CancelledError:
            client.release()
            raise
        if started is not None:
            record = msgspec.structs.replace(record, pid=started.pid)
            write_engine_record(paths, record)
        return EngineContainer(record, client, paths, started)

    def find(self, paths: ContainerPaths) -> EngineContainer | Exit | None:
        record = read_engine_record(paths)
        client = self._supervisors.find(paths)
        if record is None or client is None:
            return None
        if record.settled and isinstance(client, Exit):
            return client
        return EngineContainer(record, client, paths)

    async def end(self, paths: ContainerPaths) -> None:
        if (record := read_engine_record(paths)) is not None:
            await remove(record)
        found = self.find(paths)
        if isinstance(found, EngineContainer):
            await found.wait()

    async def resize(self, paths: ContainerPaths, bounds: Bounds) -> str:
        if (record := read_engine_record(paths)) is None:
            return "the container is not running"
        if not (arguments := list(limit_arguments(bounds))):
            return "limits cannot be taken from a container that runs; restart it"
        try:
            await record.client.run("update", *arguments, record.name)
        except EngineError as error:
            return f"the limits cannot be changed: {error}"
        return ""

    async def clean_up(self, paths: ContainerPaths) -> None:
        """A container is removed when its end is told; the folder holds nothing else."""


async def _started(record: EngineRecord, client: RunningContainer) -> State | None:
    """Waits until the container runs or its client is gone."""
    gone = asyncio.create_task(client.wait())
    pause = _FIRST_LOOK
    try:
        while not gone.done():
            with contextlib.suppress(EngineError):
                if (seen := await inspect(record)).status not in NOT_STARTED:
                    return seen
            await asyncio.wait([gone], timeout=pause)
            pause = min(pause * 2, _LAST_LOOK)
    finally:
        gone.cancel()
    return None


async def _create(image: ContainerImage, attempt: Attempt, record: EngineRecord) -> None:
    arguments = create_arguments(image.engine, image, attempt)
    hidden = variables_by_name(attempt.parts.env)
    try:
        await image.engine.run(*arguments, env=hidden)
    except EngineError as error:
        if "already in use" not in str(error):
            raise
        # What an interrupted start has left: it never ran.
        await remove(record)
        await image.engine.run(*arguments, env=hidden)


async def _make_working_folder(attempt: Attempt, record: EngineRecord) -> None:
    """Podman alone refuses a working directory that the image does not have."""
    folder = attempt.parts.container.get("workingDir")
    if not folder or record.engine != "podman":
        return
    try:
        await record.client.run("init", record.name)
    except EngineError as error:
        if "does not exist on container" not in str(error):
            return  # the start will say what it is
        await record.client.run("cp", "-", f"{record.name}:/", stdin=_empty_folder(folder))


def _empty_folder(path: str) -> bytes:
    import tarfile

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        folder = tarfile.TarInfo(path.strip("/"))
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
    return archive.getvalue()


def _make_folder(image: ContainerImage, attempt: Attempt) -> EngineRecord:
    paths = attempt.paths
    paths.etc.mkdir(parents=True)
    for name, text in attempt.parts.etc.items():
        (paths.etc / name).write_text(text)
    paths.termination_log.touch()
    paths.termination_log.chmod(0o666)
    engine = image.engine
    own = (attempt.parts.container.get("lifecycle") or {}).get("stopSignal")
    stop_signal = own or image.stop_signal
    record = EngineRecord(engine.name, str(engine.program), container_name(attempt), stop_signal)
    write_engine_record(paths, record)
    return record


def _client_plan(record: EngineRecord, attempt: Attempt) -> LaunchPlan:
    container = attempt.parts.container
    tty = bool(container.get("tty"))
    typed = ["--interactive"] if tty or container.get("stdin") else []
    options = ["--attach", *typed, *no_detaching(record.client)]
    return LaunchPlan(
        directory=str(attempt.paths.root),
        argv=[record.program, "start", *options, record.name],
        env={**client_env(), "TERM": "xterm"} if tty else client_env(),
        cwd="/",
        namespaces=0,
        network="",
        hostname="",
        root=None,
        mounts=[],
        credentials=NOBODY,
        stop_signal=int(signal.SIGTERM),
        beside=0,
        joined=0,
        sysctls={},
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=tty,
        limits=_UNLIMITED,
    )
