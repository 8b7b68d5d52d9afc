"""What the agent asks of whatever runs containers: one contract with two implementations.

Commands of this machine are run by :mod:`.processes`, containers of podman and docker by
:mod:`.oci.runtime`; ``tests/engine/test_runtimes.py`` holds both to what is promised here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kubeling.engine.assembly import ContainerParts
from kubeling.engine.cgroups import Bounds
from kubeling.engine.containers import Exit
from kubeling.engine.paths import ContainerPaths, PodPaths
from kubeling.engine.sandbox.plan import ExecPlan

__all__ = ["Attempt", "Container", "PodRuntime", "Runtimes"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a container: what to run and the folder for it, which does not exist yet."""

    parts: ContainerParts
    paths: ContainerPaths
    pod_paths: PodPaths


class Container(Protocol):
    """A running attempt, as its runtime watches it.

    It lives on without whoever watches: losing this object, or the whole platform, never ends it
    and loses neither its output nor its exit code. All methods belong to one event loop.
    """

    @property
    def paths(self) -> ContainerPaths:
        """Its folder. ``log`` is there from the start and grows in the CRI's format; the FIFO
        ``input`` if it has ``stdin`` or ``tty``; ``exit.json`` once nothing more will be written.
        """
        ...

    @property
    def pid(self) -> int:
        """The process above all others of it; 0 where this machine cannot see them."""
        ...

    @property
    def started_at(self) -> float:
        """Seconds since the epoch."""
        ...

    attached: bool
    """Whether a client has been attached to it; whoever attaches one says so."""

    async def wait_begun(self) -> None:
        """Waits until commands can be run in it, or it has ended without that."""
        ...

    async def wait(self) -> Exit:
        """Waits for the end; may be called by many, many times, and be cancelled.

        The same record is returned each time, also by later agents. When it returns, no process of
        the container is left.
        """
        ...

    def on_end(self, call: Callable[[], None]) -> Callable[[], None]:
        """Calls once it has ended; what is returned calls that off."""
        ...

    def signal(self, number: int) -> None:
        """Sends a signal to its command; nothing happens if that is over.

        SIGTERM asks it to end, with the signal that its image names for that.
        """
        ...

    def kill(self) -> None:
        """Ends it with all its processes; :meth:`wait` tells when that is done."""
        ...

    def exec_plan(self, command: Sequence[str], *, tty: bool = False) -> ExecPlan:
        """How to run a further command as its own would be: identity, variables, folder, limits."""
        ...

    async def call_off(self, plan: ExecPlan) -> None:
        """Ends a command of such a plan, with all it has started, after its caller has hung up."""
        ...

    def release(self) -> None:
        """Stops watching; it runs on."""
        ...


class PodRuntime(Protocol):
    """Starts containers and finds those that an earlier agent has started.

    A runtime keeps nothing in memory that :meth:`find` could not build again, and never runs an
    attempt twice: a start that was interrupted is found, or it is gone.
    """

    async def start(self, attempt: Attempt) -> Container:
        """Makes the attempt's folder and starts it there, on the network and with the volumes of
        its parts. Returns when the container runs, or has ended already: a command that cannot be
        executed is an :class:`Exit` with a reason, 127 or 126.

        Raises :class:`~kubeling.engine.launcher.LaunchError` or :class:`OSError` if nothing was
        started; the folder is to be removed then, and nothing else is left.
        """
        ...

    def find(self, paths: ContainerPaths) -> Container | Exit | None:
        """What became of an attempt: still running, ended, or never started (``None``)."""
        ...

    async def end(self, paths: ContainerPaths) -> None:
        """Kills an attempt, if it runs, and waits until nothing of it is left but its folder."""
        ...

    async def resize(self, paths: ContainerPaths, bounds: Bounds) -> str:
        """Gives a running attempt other bounds; returns what is in the way of that, if anything."""
        ...

    async def clean_up(self, paths: ContainerPaths) -> None:
        """Frees what an ended attempt holds, but for its log and records. May be repeated."""
        ...


class Runtimes:
    """All runtimes of a node as one: the image decides at the start, the folder from then on."""

    def __init__(self, processes: PodRuntime, engine: PodRuntime) -> None:
        self._processes = processes
        self._engine = engine

    async def start(self, attempt: Attempt) -> Container:
        return await (self._engine if attempt.parts.image else self._processes).start(attempt)

    def find(self, paths: ContainerPaths) -> Container | Exit | None:
        return self._owner(paths).find(paths)

    async def end(self, paths: ContainerPaths) -> None:
        await self._owner(paths).end(paths)

    async def resize(self, paths: ContainerPaths, bounds: Bounds) -> str:
        return await self._owner(paths).resize(paths, bounds)

    async def clean_up(self, paths: ContainerPaths) -> None:
        await self._owner(paths).clean_up(paths)

    def _owner(self, paths: ContainerPaths) -> PodRuntime:
        return self._engine if paths.engine.exists() else self._processes
