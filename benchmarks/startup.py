"""From ``kubeling up --detach`` to ready: the first time, and again on what it kept.

python benchmarks/startup.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from harness import Platform, platform, seconds


def started(kept: Platform) -> float:
    """Seconds until the command returns; the platform is stopped again."""
    began = time.perf_counter()
    kept.up()
    elapsed = time.perf_counter() - began
    kept.command("down")
    return elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    bare = [seconds(sys.executable, "-c", "pass") for _ in range(repeats)]
    with platform() as kept:
        first = started(kept)
        warm = [started(kept) for _ in range(repeats)]
    print(f"bare interpreter     {min(bare):5.2f} s best  {statistics.median(bare):5.2f} s median")
    print(f"new data directory   {first:5.2f} s")
    print(f"warm                 {min(warm):5.2f} s best  {statistics.median(warm):5.2f} s median")
    print("goal, warm            1.00 s")


if __name__ == "__main__":
    main()
