"""Which walls this machine lets us put around a container, found out by trying.

Kernels, container runtimes and security modules forbid namespaces and mounts in many ways; the only
honest question is whether a container with these walls starts. So one that does nothing is started
with the best set first, and with less until one succeeds.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kubeling.engine.containers import Supervisors
from kubeling.engine.launcher import LaunchError
from kubeling.engine.sandbox import linux
from kubeling.engine.sandbox.plan import Credentials, LaunchPlan, Limits, Mount, Root

__all__ = ["NO_WALLS", "Walls", "find_walls"]


@dataclass(frozen=True, slots=True)
class Walls:
    """What separates a container from the machine.

    ``files``: a private copy-on-write root with volumes at their mount paths. ``processes``: ids of
    its own, and nothing survives its end. ``users``: through a user namespace, without being root.
    """

    files: bool = False
    processes: bool = False
    users: bool = False
    in_memory: bool = False

    @property
    def namespaces(self) -> int:
        """The flags for unshare(2)."""
        flags = 0
        if self.files:
            flags |= linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC
        if self.processes:
            flags |= linux.CLONE_NEWPID
        if self.users:
            flags |= linux.CLONE_NEWUSER
        return flags

    def root(self, folder: Path, open: list[str], sealed: list[str]) -> Root | None:
        """The view of the machine's files that a container keeps its changes of in ``folder``."""
        if not self.files:
            return None
        return Root(
            directory=str(folder),
            in_memory=self.in_memory,
            whole=not self.users,
            open=open,
            sealed=sealed,
        )


NO_WALLS = Walls()


async def find_walls(supervisors: Supervisors, folder: Path) -> Walls:
    """The strongest walls with which a container starts; ``folder`` must be on the pods' disk."""
    for walls in _candidates():
        attempt = _trial_folder(folder)
        try:
            if await _holds(supervisors, walls, attempt):
                return walls
        finally:
            shutil.rmtree(attempt, ignore_errors=True)
    return NO_WALLS


def _trial_folder(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="walls-", dir=parent))
    (folder / "files").mkdir()
    return folder


def _candidates() -> Iterator[Walls]:
    if sys.platform != "linux":
        return
    users = os.geteuid() != 0
    for in_memory in (False, True):
        yield Walls(files=True, processes=True, users=users, in_memory=in_memory)
    if not users:
        yield Walls(processes=True)


async def _holds(supervisors: Supervisors, walls: Walls, folder: Path) -> bool:
    try:
        container = await supervisors.start(_trial(walls, folder))
    except LaunchError:
        return False
    return (await container.wait()).exit_code == 0


def _trial(walls: Walls, folder: Path) -> LaunchPlan:
    mounts = [
        Mount(kind="proc", source="", target="/proc", read_only=False, data=""),
        Mount(kind="bind", source="/dev", target="/dev", read_only=False, data=""),
    ]
    return LaunchPlan(
        directory=str(folder),
        argv=["/bin/sh", "-c", "exit 0"],
        env={},
        cwd="/",
        namespaces=walls.namespaces,
        network="",
        hostname="trial",
        root=walls.root(folder / "files", [], []),
        mounts=mounts if walls.files else [],
        credentials=Credentials(
            uid=None,
            gid=None,
            groups=[],
            mapped_uid=0,
            mapped_gid=0,
            capabilities=None,
            no_new_privileges=False,
        ),
        stdin=False,
        stdin_once=False,
        tty=False,
        stop_signal=int(signal.SIGTERM),
        beside=0,
        joined=0,
        limits=Limits(join=[], events="", memory=0),
        sysctls={},
    )
