"""What a pod costs beside the bare process, one after the other.

    python benchmarks/pod_start.py [--repeats 30]

Runs the engine with the embedded API server on a temporary data directory, both in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import uvloop
from embedded import pods, spawn


async def milliseconds(work: Callable[[], Awaitable[None]], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        await work()
        times.append((time.perf_counter() - begun) * 1000)
    return times


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    repeats = parser.parse_args().repeats
    async with pods() as running:
        bare = await milliseconds(lambda: asyncio.to_thread(spawn), repeats)
        alone = await milliseconds(running.run, repeats)
    middle = statistics.median
    print(f"bare process    {min(bare):6.1f} ms best  {middle(bare):6.1f} ms median")
    print(f"one pod         {min(alone):6.1f} ms best  {middle(alone):6.1f} ms median")
    more = middle(alone) - middle(bare)
    print(f"more by         {min(alone) - min(bare):6.1f} ms best  {more:6.1f} ms median")
    print("goal              15.0 ms")


if __name__ == "__main__":
    uvloop.run(main())
