"""What an idle platform takes: memory (PSS) and CPU of all its processes. Linux only.

python benchmarks/idle.py [--seconds 15]

PSS counts a page that processes share once among them, so the sum is what would be free without
the platform. CPU is in percent of one core.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import psutil
from harness import platform

SETTLE_SECONDS = 10


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def mebibytes(processes: list[psutil.Process]) -> list[float]:
    return [process.memory_full_info().pss / 2**20 for process in processes]


def cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def bare_mebibytes() -> float:
    """The interpreter that waits for its input."""
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        if process.stdout is None:
            raise RuntimeError("no pipe to the bare interpreter")
        process.stdout.readline()
        found = sum(mebibytes([psutil.Process(process.pid)]))
        process.communicate(b"\n")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15)
    length = parser.parse_args().seconds
    print(f"bare interpreter      {bare_mebibytes():6.1f} MiB")
    with platform() as running:
        running.up()
        processes = family(running.pid())
        time.sleep(SETTLE_SECONDS)
        before, began = cpu_seconds(processes), time.monotonic()
        time.sleep(length)
        used = (cpu_seconds(processes) - before) / (time.monotonic() - began)
        sizes = mebibytes(processes)
    print(f"{len(sizes)} idle processes      {sum(sizes):6.1f} MiB   {used * 100:.2f}% of a core")
    print("goal                   150.0 MiB   1.00%")


if __name__ == "__main__":
    main()
