"""A workflow of trivial parallel steps beside the same processes without a platform.

python benchmarks/steps.py [--steps 100] [--parallelism 4]

Every step is a pod of its own that runs ``true``; a client over HTTPS creates the workflow and
watches for its end.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness import platform

from kubeling.kube.client import Client
from kubeling.kube.config import load
from kubeling.kube.https import HttpsTransport
from kubeling.workflows.resources import WORKFLOWS


def workflow(name: str, steps: int, parallelism: int) -> dict[str, Any]:
    fan_out = {"name": "step", "template": "step", "withSequence": {"count": str(steps)}}
    return {
        "metadata": {"name": name},
        "spec": {
            "entrypoint": "main",
            "parallelism": parallelism,
            "templates": [
                {"name": "main", "steps": [[fan_out]]},
                {"name": "step", "container": {"image": "busybox", "command": ["true"]}},
            ],
        },
    }


def bare(steps: int, parallelism: int) -> float:
    """Seconds for the processes alone, as many at a time."""
    began = time.perf_counter()
    with ThreadPoolExecutor(parallelism) as pool:
        list(pool.map(lambda _: subprocess.run(["true"], check=True), range(steps)))
    return time.perf_counter() - began


async def finished(client: Client, name: str) -> str:
    """The phase in which the workflow ends."""
    while True:
        selected = f"metadata.name={name}"
        async for event in client.watch(WORKFLOWS, "default", fields=selected):
            status = event.object.get("status") or {}
            if status.get("finishedAt"):
                return str(status["phase"])


async def measured(kubeconfig: str, steps: int, parallelism: int, repeats: int) -> Sequence[float]:
    """Seconds of each workflow, after one step to warm up."""
    client = Client(HttpsTransport(load(kubeconfig)))
    times = []
    try:
        for index, count in enumerate([1, *[steps] * repeats]):
            name = f"steps-{index}"
            began = time.perf_counter()
            await client.create(WORKFLOWS, workflow(name, count, parallelism), "default")
            phase = await finished(client, name)
            times.append(time.perf_counter() - began)
            if phase != "Succeeded":
                raise RuntimeError(f"the workflow {name} is {phase}")
    finally:
        await client.close()
    return times[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--parallelism", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    alone = min(bare(given.steps, given.parallelism) for _ in range(3))
    with platform() as running:
        running.up()
        kubeconfig = str(running.data / "kubeconfig")
        times = asyncio.run(measured(kubeconfig, given.steps, given.parallelism, given.repeats))
    count = f"{given.steps} steps, {given.parallelism} at a time"
    print(f"{count}: {min(times):.2f} s best, {max(times):.2f} s worst of {given.repeats}")
    more = (min(times) - alone) / given.steps * 1000
    print(f"bare processes: {alone:.2f} s; more by {more:.0f} ms a step")
    print("goal for 100 steps: 2.00 s")


if __name__ == "__main__":
    main()
