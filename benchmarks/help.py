"""``kubeling --help`` beside the interpreter that does nothing.

python benchmarks/help.py [--repeats 20]
"""

from __future__ import annotations

import argparse
import statistics
import sys

from harness import KUBELING, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    commands = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "kubeling --help": (*KUBELING, "--help"),
    }
    for label, command in commands.items():
        seconds(*command)
        times = [seconds(*command) * 1000 for _ in range(repeats)]
        print(f"{label:16} {min(times):6.0f} ms best  {statistics.median(times):6.0f} ms median")
    print("goal             150 ms")


if __name__ == "__main__":
    main()
