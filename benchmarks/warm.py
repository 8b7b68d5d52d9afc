"""What a Python step costs when it is executed, and when it is forked from a warm interpreter.

    python benchmarks/warm.py [--repeats 30] [--kfp 2.17.0]

Each round runs every kind of pod once, so that what else the machine does falls on all alike; the
engine and the embedded API server are in this process. With ``--kfp`` there are components of the
pipelines' SDK, too, in an environment that uv builds with that version of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop
from embedded import Pods, pods

from kubeling.engine.templates import ANNOTATION
from kubeling.kube.objects import Obj
from kubeling.pipelines.bootstrap import PACKAGES_ANNOTATION

_SETTLE_SECONDS = 3.0
_TEXT = "import json, logging, random"
_EPHEMERAL = """program_path=$(mktemp -d)

printf "%s" "$0" > "$program_path/ephemeral_component.py"
_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main  --component_module_path \
 "$program_path/ephemeral_component.py"  "$@"
"""
_SOURCE = """
import kfp
from kfp import dsl
from kfp.dsl import *
from typing import *

def add(a: int, b: int) -> int:
    return a + b
"""
_INPUT = {
    "inputs": {"parameterValues": {"a": 1, "b": 2}},
    "outputs": {
        "parameters": {"Output": {"outputFile": "/tmp/output"}},
        "outputFile": "/tmp/executor_output.json",
    },
}


def component() -> Obj:
    """A lightweight component's container, its packages being there."""
    skip = '[ -n "$KUBELING_PACKAGES_READY" ] && exec "$0" "$@"\nexit 1\n'
    return {
        "image": "kubeling/step",
        "command": ["sh", "-c", skip, "sh", "-ec", _EPHEMERAL, _SOURCE],
        "args": ["--executor_input", json.dumps(_INPUT), "--function_to_execute", "add"],
    }


async def measured(work: Callable[[], Awaitable[object]]) -> float:
    begun = time.perf_counter()
    await work()
    return (time.perf_counter() - begun) * 1000


def kinds(running: Pods, kfp: str) -> dict[str, Callable[[], Awaitable[object]]]:
    """What is measured, by name."""

    def bare() -> Awaitable[object]:
        return asyncio.to_thread(subprocess.run, [sys.executable, "-c", _TEXT], check=True)

    def pod(fields: Obj, warm: bool, packages: Obj) -> Callable[[], Awaitable[object]]:
        annotations = {ANNOTATION: "true" if warm else "false"}
        if packages:
            annotations[PACKAGES_ANNOTATION] = json.dumps({"main": packages})
        return lambda: running.run(fields, annotations)

    python: Obj = {"image": "kubeling/step", "command": ["python", "-c", _TEXT]}
    found = {
        "bare interpreter": bare,
        "pod of /bin/true": running.run,
        "Python pod, executed": pod(python, False, {}),
        "Python pod, forked": pod(python, True, {}),
    }
    if kfp:
        packages = {"bare": [f"kfp=={kfp}"]}
        found["component, executed"] = pod(component(), False, packages)
        found["component, forked"] = pod(component(), True, packages)
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--kfp", default="", metavar="VERSION")
    given = parser.parse_args()
    async with pods() as running:
        measuring = kinds(running, given.kfp)
        for _ in range(2):
            for work in measuring.values():
                await work()
        await asyncio.sleep(_SETTLE_SECONDS)
        times: dict[str, list[float]] = {name: [] for name in measuring}
        for _ in range(given.repeats):
            for name, work in measuring.items():
                times[name].append(await measured(work))
    for name, found in times.items():
        middle = statistics.median(found)
        print(f"{name:22} {min(found):6.1f} ms best  {middle:6.1f} ms median")
    print("goal: a component forked 15 ms, executed 100 ms, beside its own work")


if __name__ == "__main__":
    uvloop.run(main())
