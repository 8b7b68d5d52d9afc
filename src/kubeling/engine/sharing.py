"""What a container shares with others: process ids within its pod or with the machine, and IPC.

Each container has process ids of its own unless its pod says otherwise. With
``shareProcessNamespace`` an idle process, which lives as long as the pod, holds the ids that all
containers join; a debug container joins those of the container it is for.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Final

from kubeling.engine.containers import RunningContainer, Supervisors
from kubeling.engine.paths import ContainerPaths
from kubeling.engine.podspec import spec
from kubeling.engine.sandbox import linux
from kubeling.engine.sandbox.plan import LaunchPlan, Limits
from kubeling.engine.security import credentials
from kubeling.engine.trees import remove_tree
from kubeling.engine.walls import Walls
from kubeling.kube.objects import Obj

__all__ = ["HOLDER", "Sharing", "hold_processes", "shares_processes", "sharing_of"]

HOLDER: Final = "..processes"
"""The name under which the idle process is kept; no container can have it."""


_FOR_EVER: Final = str(2**31 - 1)


@dataclass(frozen=True, slots=True)
class Sharing:
    """The namespaces a container gets of its own, and those it joins ``beside`` a process."""

    own: int
    joined: int = 0
    beside: int = 0

    @property
    def new_processes(self) -> bool:
        """Whether ``/proc`` has to be made for it."""
        return bool((self.own | self.joined) & linux.CLONE_NEWPID)


def shares_processes(pod: Obj) -> bool:
    """Whether the pod's containers see each other's processes."""
    return bool(spec(pod).get("shareProcessNamespace")) and not spec(pod).get("hostPID")


def sharing_of(pod: Obj, walls: Walls, beside: int) -> Sharing:
    """How a container starts; ``beside`` is the process whose ids it joins, or 0."""
    own = walls.namespaces
    if spec(pod).get("hostIPC"):
        own &= ~linux.CLONE_NEWIPC
    if spec(pod).get("hostPID"):
        return Sharing(own & ~linux.CLONE_NEWPID)
    if not beside or not walls.processes:
        return Sharing(own)
    # A user may join the process ids of its own user namespace only.
    joined = own & (linux.CLONE_NEWPID | linux.CLONE_NEWUSER)
    return Sharing(own & ~joined, joined, beside)


async def hold_processes(
    supervisors: Supervisors, walls: Walls, pod: Obj, place: ContainerPaths
) -> RunningContainer:
    """The idle process of a pod, found again or started. When it ends, so do all that joined it."""
    found = supervisors.find(place)
    if isinstance(found, RunningContainer):
        return found
    if place.root.exists():
        remove_tree(place.root)
    place.root.mkdir(parents=True)
    return await supervisors.start(_idle(walls, pod, place))


def _idle(walls: Walls, pod: Obj, place: ContainerPaths) -> LaunchPlan:
    kept = linux.CLONE_NEWPID | linux.CLONE_NEWUSER
    return LaunchPlan(
        directory=str(place.root),
        argv=["sleep", _FOR_EVER],
        env={"PATH": os.defpath},
        cwd="/",
        namespaces=walls.namespaces & kept,
        network="",
        hostname="",
        root=None,
        mounts=[],
        credentials=credentials(pod, {}, walls),
        stdin=False,
        stdin_once=False,
        tty=False,
        stop_signal=int(signal.SIGTERM),
        beside=0,
        joined=0,
        limits=Limits(join=[], events="", memory=0),
        sysctls={},
    )
