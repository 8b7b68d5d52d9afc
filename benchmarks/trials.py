"""What an experiment costs beside its trials: until the first starts, and for each of many.

    python benchmarks/trials.py [--trials 1000] [--parallel 16] [--first 10]

Trials are shells that print one number. Latencies are from the create until a pod is there, the
best of a few experiments; the CPU of the platform's process per trial is told for every fifth of
the trials, so that it shows whether it grows with their number, and for the same number of Jobs
without an experiment.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
from harness import platform

from kubeling.kube.client import Client
from kubeling.kube.config import load
from kubeling.kube.https import HttpsTransport
from kubeling.kube.objects import Obj, name, new_object
from kubeling.kube.resources import JOBS, PODS, Resource
from kubeling.kube.transport import WatchEvent
from kubeling.tuning.resources import EXPERIMENTS

NAMESPACE = "default"
PARTS = 5
COMMAND = ["sh", "-c", "echo loss=${trialParameters.lr}"]


def job(command: list[str]) -> Obj:
    container = {"name": "train", "image": "busybox", "command": command}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"backoffLimit": 0, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": spec}


def experiment(title: str, trials: int, parallel: int) -> Obj:
    space = {"min": "0.01", "max": "0.1"}
    return new_object(
        EXPERIMENTS,
        title,
        NAMESPACE,
        spec={
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "random"},
            "maxTrialCount": trials,
            "parallelTrialCount": parallel,
            "parameters": [{"name": "lr", "parameterType": "double", "feasibleSpace": space}],
            "trialTemplate": {
                "primaryContainerName": "train",
                "trialParameters": [{"name": "lr", "reference": "lr"}],
                "trialSpec": job(COMMAND),
            },
        },
    )


@asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncIterator[Client]:
    client = Client(HttpsTransport(load(kubeconfig)))
    try:
        yield client
    finally:
        await client.close()


async def first_pod(client: Client, title: str) -> float:
    """Milliseconds from the create of an experiment until its first pod is there."""
    changes = client.watch(PODS, NAMESPACE)
    seen = asyncio.ensure_future(_until(changes, lambda pod: name(pod).startswith(title)))
    await asyncio.sleep(0.5)
    start = time.perf_counter()
    await client.create(EXPERIMENTS, experiment(title, 1, 1))
    await seen
    passed = (time.perf_counter() - start) * 1000
    await _ended(client, EXPERIMENTS, title)
    return passed


async def many(client: Client, process: psutil.Process, trials: int, parallel: int) -> None:
    """Prints time and CPU per trial, for each part of the trials."""
    await client.create(EXPERIMENTS, experiment("many", trials, parallel))
    before, done = (_cpu(process), time.perf_counter()), 0
    async for event in client.watch(EXPERIMENTS, NAMESPACE):
        status = event.object.get("status") or {}
        now = int(status.get("trialsSucceeded") or 0)
        if name(event.object) != "many" or now < min(done + trials // PARTS, trials):
            continue
        after = (_cpu(process), time.perf_counter())
        print(f"{now:6} trials  {_each(before, after, now - done)}", flush=True)
        before, done = after, now
        if done >= trials:
            return


async def jobs(client: Client, process: psutil.Process, number: int, parallel: int) -> None:
    """The same Jobs, so many at a time, without an experiment."""
    begin = (_cpu(process), time.perf_counter())
    gate = asyncio.Semaphore(parallel)

    async def one(place: int) -> None:
        async with gate:
            made = job(["sh", "-c", "echo loss=0.5"])
            made["metadata"] = {"name": f"alone-{place}", "namespace": NAMESPACE}
            await client.create(JOBS, made)
            await _ended(client, JOBS, f"alone-{place}")

    await asyncio.gather(*(one(place) for place in range(number)))
    print(f"{number:6} Jobs    {_each(begin, (_cpu(process), time.perf_counter()), number)}")


def _each(before: tuple[float, float], after: tuple[float, float], number: int) -> str:
    cpu, wall = ((late - early) * 1000 / number for early, late in zip(before, after, strict=True))
    return f"{cpu:6.1f} ms CPU each  {wall:7.1f} ms each"


async def _ended(client: Client, resource: Resource, title: str) -> None:
    only = f"metadata.name={title}"
    changes = client.watch(resource, NAMESPACE, fields=only)
    await _until(changes, lambda obj: (obj.get("status") or {}).get("completionTime"))


async def _until(changes: AsyncIterator[WatchEvent], holds: Callable[[Obj], object]) -> None:
    async for event in changes:
        if holds(event.object):
            return


def _cpu(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


async def measure(kubeconfig: Path, pid: int, options: argparse.Namespace) -> None:
    process = psutil.Process(pid)
    async with connected(kubeconfig) as client:
        latencies = [await first_pod(client, f"first-{n}") for n in range(options.first)]
        middle = sorted(latencies)[len(latencies) // 2]
        print(f"first pod after {min(latencies):.0f} ms (goal 50), median {middle:.0f} ms")
        await jobs(client, process, options.trials // PARTS, options.parallel)
        await many(client, process, options.trials, options.parallel)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--parallel", type=int, default=16)
    parser.add_argument("--first", type=int, default=10)
    options = parser.parse_args()
    with platform() as found:
        found.up()
        asyncio.run(measure(found.data / "kubeconfig", found.pid(), options))


if __name__ == "__main__":
    main()
