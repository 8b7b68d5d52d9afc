"""How many processors a server has."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

__all__ = ["processors"]

_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
"""As a container sees its own limit."""


def processors(quota: Path = _QUOTA) -> int:
    """Those it may run on, or what its container's limit of CPU comes to: at least one."""
    if sys.platform == "linux":
        bound = len(os.sched_getaffinity(0))
    else:
        bound = os.cpu_count() or 1
    try:
        allowed, period = quota.read_text().split()
        return max(1, min(bound, int(allowed) // int(period)))
    except (OSError, ValueError):
        # There are no cgroups of version 2, or "max" says that there is no limit.
        return bound
