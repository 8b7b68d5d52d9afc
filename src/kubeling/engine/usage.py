"""What containers use, read from ``/proc`` when somebody asks; nothing is sampled before that."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubeling.engine.sandbox.supervisor import descendants

__all__ = ["ProcessUse", "machine_use", "use_of_tree"]

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """CPU seconds so far and memory in bytes."""

    cpu_seconds: float
    memory: int


def use_of_tree(root: int) -> ProcessUse:
    """The use of a process and all below it, of children that have ended too."""
    uses = [_use(pid) for pid in (root, *descendants(root))]
    return ProcessUse(sum(u.cpu_seconds for u in uses), sum(u.memory for u in uses))


def machine_use() -> ProcessUse:
    """The use of the whole machine."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = map(int, fields)
    lines = Path("/proc/meminfo").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    used = sizes["MemTotal"] - sizes["MemAvailable"]
    return ProcessUse((user + nice + system + irq + softirq + steal) / _TICKS, used)


def _use(pid: int) -> ProcessUse:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ProcessUse(0.0, 0)  # it has ended meanwhile
    ticks = sum(_numbers(fields[11:15]))
    return ProcessUse(ticks / _TICKS, int(fields[21]) * _PAGE)


def _numbers(texts: Iterable[str]) -> Iterable[int]:
    return (int(text) for text in texts)
