"""Whether a template may be used: nothing that it has imported has changed, and there is room."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from kubeling.engine.sandbox import linux
from kubeling.engine.sandbox.plan import LaunchPlan

__all__ = ["has_room", "is_ordinary", "look", "overlap"]

_SPARE_MEMORY: Final = 512 << 20
_SPARE_PART: Final = 0.1
_LARGEST_REQUEST: Final = 96 * 1024


def is_ordinary(plan: LaunchPlan) -> bool:
    """Whether a container has walls of its own, as a template can go through, and no terminal."""
    root = plan["root"]
    return (
        root is not None
        and root["whole"]
        and bool(plan["namespaces"] & linux.CLONE_NEWPID)
        and not plan["joined"]
        and not plan["tty"]
        and not plan["stdin"]
        and sum(map(len, (*plan["argv"], *plan["env"], *plan["env"].values()))) < _LARGEST_REQUEST
    )


def look(paths: Iterable[str]) -> dict[str, int]:
    """When files and folders have changed last."""
    found = {}
    for path in paths:
        try:
            found[path] = os.stat(path).st_mtime_ns
        except OSError:
            found[path] = 0
    return found


def overlap(one: str, other: str) -> bool:
    """Whether something mounted at one path changes what is seen at the other."""
    return f"{one.rstrip('/')}/".startswith(f"{other.rstrip('/')}/") or (
        f"{other.rstrip('/')}/".startswith(f"{one.rstrip('/')}/")
    )


def has_room(times: int = 1) -> bool:
    """Whether the machine has memory to spare, or so many times what is to be spared."""
    with open("/proc/meminfo") as file:
        lines = (line.split() for line in file)
        kib = {line[0]: int(line[1]) for line in lines if len(line) > 1}
    available = kib.get("MemAvailable:", 0) << 10
    return available > times * max(_SPARE_MEMORY, _SPARE_PART * (kib.get("MemTotal:", 0) << 10))
