"""How the time per step grows with the size of a workflow: 100 to 10,000 steps, two shapes.

python benchmarks/workflows.py [--sizes 100 1000 10000] [--shapes fan-out chain] [--pods]

Without ``--pods`` the API server and the workflow controllers run in this process and pods are said
to have succeeded as soon as they are created, so that only the control plane is measured. With it,
a platform of its own runs every step as a pod, and a client over HTTPS waits for the end.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from typing import Any

from control_plane import AT_ONCE, control_plane, real_platform

from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.workflows.component import COMPONENT
from kubeling.workflows.resources import WORKFLOWS


def fan_out(steps: int) -> Obj:
    """All steps side by side, a few at a time."""
    step = {"name": "step", "template": "step", "withSequence": {"count": str(steps)}}
    return {"steps": [[step]]}


def chain(steps: int) -> Obj:
    """Every step after the one before."""
    tasks: list[Obj] = [{"name": f"t{number}", "template": "step"} for number in range(steps)]
    for number, task in enumerate(tasks[1:]):
        task["dependencies"] = [f"t{number}"]
    return {"dag": {"tasks": tasks}}


SHAPES: dict[str, Callable[[int], Obj]] = {"fan-out": fan_out, "chain": chain}


def workflow(shape: str, steps: int) -> Obj:
    return {
        "metadata": {"name": f"{shape}-{steps}"},
        "spec": {
            "entrypoint": "main",
            "parallelism": AT_ONCE,
            "podGC": {"strategy": "OnPodCompletion"},
            "templates": [
                {"name": "main", **SHAPES[shape](steps)},
                {"name": "step", "container": {"image": "busybox", "command": ["true"]}},
            ],
        },
    }


async def finished(client: Client, name: str) -> dict[str, Any]:
    """The status in which the workflow ends."""
    while True:
        async for event in client.watch(WORKFLOWS, "default", fields=f"metadata.name={name}"):
            status: dict[str, Any] = event.object.get("status") or {}
            if status.get("finishedAt"):
                return status


async def measure(shapes: list[str], sizes: list[int], pods: bool) -> None:
    print(f"{'shape':<8} {'steps':>6} {'seconds':>8} {'ms a step':>10} {'CPU ms':>8}  nodes in")
    for shape in shapes:
        for steps in sizes:
            async with real_platform() if pods else control_plane(COMPONENT) as client:
                began, cpu = time.perf_counter(), time.process_time()
                wanted = workflow(shape, steps)
                await client.create(WORKFLOWS, wanted, "default")
                status = await finished(client, wanted["metadata"]["name"])
                took, cpu = time.perf_counter() - began, time.process_time() - cpu
            if status["phase"] != "Succeeded" or status["progress"] != f"{steps}/{steps}":
                raise RuntimeError(f"{shape} of {steps}: {status['phase']} {status['progress']}")
            place = "the database" if status.get("offloadNodeStatusVersion") else "the status"
            used = "" if pods else f"{cpu / steps * 1000:.2f}"
            each = took / steps * 1000
            print(
                f"{shape:<8} {steps:>6} {took:>8.1f} {each:>10.2f} {used:>8}  {place}", flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--pods", action="store_true", help="run every step as a pod")
    given = parser.parse_args()
    asyncio.run(measure(given.shapes, given.sizes, given.pods))


if __name__ == "__main__":
    main()
