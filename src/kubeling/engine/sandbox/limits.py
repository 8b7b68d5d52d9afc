"""Holding a container to its limits, from inside its supervisor.

Where the machine has control groups the command enters its group before it is executed and the
kernel does the rest; here it is only found out whether the container ended for want of memory.
Elsewhere the supervisor looks at the memory of all its processes a few times a second.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from kubeling.engine.sandbox.plan import Limits

WATCH_SECONDS = 0.25
_KILLS = b"oom_kill "
_SIZES = (b"Pss_Anon:", b"Pss_Shmem:")


class Guard:
    """The limits of one container; opens what it needs before the container's walls go up."""

    def __init__(self, limits: Limits) -> None:
        self.join = [os.open(file, os.O_WRONLY | os.O_CLOEXEC) for file in limits["join"]]
        self.watches = limits["memory"] > 0
        self._events = (
            os.open(limits["events"], os.O_RDONLY | os.O_CLOEXEC) if limits["events"] else -1
        )
        self._memory = limits["memory"]
        self._due = time.monotonic() + WATCH_SECONDS
        self._exceeded = False

    def exceeds(self, pids: Iterable[int]) -> bool:
        """Whether the processes use more memory than they may, if it is time to look again."""
        now = time.monotonic()
        if not self.watches or now < self._due:
            return False
        self._due = now + WATCH_SECONDS
        self._exceeded = sum(map(_memory, pids)) > self._memory
        return self._exceeded

    def out_of_memory(self) -> bool:
        """Whether a process of the container was killed for want of memory."""
        if self._exceeded:
            return True
        if self._events < 0:
            return False
        lines = os.pread(self._events, 4096, 0).splitlines()
        return any(line.startswith(_KILLS) and int(line.split()[1]) > 0 for line in lines)


def _memory(pid: int) -> int:
    """The bytes only this process holds, and its part of those it shares."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith(_SIZES))
    except OSError:
        return 0  # it has ended meanwhile
