"""What an idle platform takes: memory (PSS) and CPU of all its processes. Linux only.

python benchmarks/idle.py [--seconds 15]

PSS counts a page that processes share once among them. Where other Python programs run, they carry
a part of it; the resident size is the most it can be.
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


def mebibytes(processes: list[psutil.Process]) -> tuple[float, float]:
    """Proportional and resident sizes."""
    found = [process.memory_full_info() for process in processes]
    return sum(one.pss for one in found) / 2**20, sum(one.rss for one in found) / 2**20


def cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def bare_mebibytes() -> tuple[float, float]:
    """The interpreter that waits for its input."""
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        if process.stdout is None:
            raise RuntimeError("no pipe to the bare interpreter")
        process.stdout.readline()
        found = mebibytes([psutil.Process(process.pid)])
        process.communicate(b"\n")
    return found


def sizes(proportional: float, resident: float) -> str:
    return f"{proportional:6.1f} MiB PSS  {resident:6.1f} MiB resident"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15)
    length = parser.parse_args().seconds
    bare = bare_mebibytes()
    with platform() as running:
        running.up()
        processes = family(running.pid())
        time.sleep(SETTLE_SECONDS)
        before, began = cpu_seconds(processes), time.monotonic()
        time.sleep(length)
        used = (cpu_seconds(processes) - before) / (time.monotonic() - began)
        idle = mebibytes(processes)
    print(f"bare interpreter   {sizes(*bare)}")
    print(f"{len(processes)} idle processes   {sizes(*idle)}")
    print(f"CPU                {used * 100:6.2f}% of a core over {length:.0f} s")
    print("goals               150.0 MiB PSS, 1% of a core")


if __name__ == "__main__":
    main()
