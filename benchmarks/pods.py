"""Many pods created at once and run to their end, beside the same processes without a platform.

    python benchmarks/pods.py [--pods 500 1000 2000]

Each count runs on a platform of its own, all in this process, which takes as many pods at a time as
a node does (110); the others wait their turn. CPU is that of the control plane alone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import uvloop
from embedded import pods, spawn


@dataclass(frozen=True)
class Cost:
    """Of one pod, in milliseconds."""

    elapsed: float
    cpu: float


async def cost(count: int) -> Cost:
    async with pods() as running:
        await running.run()
        began, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(running.run())
        elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Cost(elapsed / count * 1000, cpu / count * 1000)


def bare(count: int) -> float:
    """Milliseconds of each process, as many at a time as there are processors."""
    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda _: spawn(), range(count)))
    return (time.perf_counter() - began) / count * 1000


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, nargs="+", default=[500, 1000, 2000])
    counts = parser.parse_args().pods
    alone = bare(min(counts))
    print(f"bare processes {alone:6.1f} ms each")
    for count in counts:
        found = await cost(count)
        more = found.elapsed - alone
        print(
            f"{count:6} pods    {found.elapsed:6.1f} ms each, "
            f"{more:5.1f} ms more than the process; "
            f"control plane {found.cpu:5.1f} ms of CPU each"
        )
    print("goal for 1000: 10.0 ms more than the process")


if __name__ == "__main__":
    uvloop.run(main())
