"""What containers use, read from ``/proc`` when somebody asks; nothing is sampled before that."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from kubeling.engine.sandbox.supervisor import descendants

__all__ = ["CpuRates", "ProcessUse", "machine_use", "use_of_tree"]

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_SHORTEST_WINDOW: Final = 5.0
_KEPT: Final = 600.0


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """CPU seconds so far, memory in bytes, and for how many seconds it has been there."""

    cpu_seconds: float
    memory: int
    age: float = 0.0


class _Reading(NamedTuple):
    at: float
    cpu_seconds: float


class CpuRates:
    """Cores used, over windows that mean something however often somebody asks.

    The first answer about a process is its average since it began: there is nothing else to tell
    without having watched it. From then on it is that since the last reading but one.
    """

    def __init__(self) -> None:
        self._readings: dict[int, tuple[_Reading, _Reading]] = {}

    def of(self, process: int, use: ProcessUse, now: float) -> tuple[float, float]:
        """The cores, and the seconds they were used over."""
        begun = _Reading(now - use.age, 0.0)
        anchor, latest = self._readings.get(process, (begun, begun))
        if use.cpu_seconds < latest.cpu_seconds:
            anchor = latest = begun  # another process has its number now
        if now - latest.at >= _SHORTEST_WINDOW:
            anchor, latest = latest, _Reading(now, use.cpu_seconds)
        if process not in self._readings:
            self._forget(now)
        self._readings[process] = (anchor, latest)
        window = now - anchor.at
        cores = (use.cpu_seconds - anchor.cpu_seconds) / window if window > 0 else 0.0
        return max(0.0, cores), window

    def _forget(self, now: float) -> None:
        asked = self._readings.items()
        self._readings = {key: found for key, found in asked if now - found[1].at < _KEPT}


def use_of_tree(root: int) -> ProcessUse:
    """The use of a process and all below it, of children that have ended too."""
    uses = [_use(pid) for pid in (root, *descendants(root))]
    cpu, memory = sum(u.cpu_seconds for u in uses), sum(u.memory for u in uses)
    return ProcessUse(cpu, memory, uses[0].age)


def machine_use() -> ProcessUse:
    """The use of the whole machine."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = map(int, fields)
    lines = Path("/proc/meminfo").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    used = sizes["MemTotal"] - sizes["MemAvailable"]
    busy = (user + nice + system + irq + softirq + steal) / _TICKS
    return ProcessUse(busy, used, _uptime())


def _use(pid: int) -> ProcessUse:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ProcessUse(0.0, 0)  # it has ended meanwhile
    ticks = sum(_numbers(fields[11:15]))
    age = max(0.0, _uptime() - int(fields[19]) / _TICKS)
    return ProcessUse(ticks / _TICKS, int(fields[21]) * _PAGE, age)


def _uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def _numbers(texts: Iterable[str]) -> Iterable[int]:
    return (int(text) for text in texts)
