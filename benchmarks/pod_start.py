"""What a pod costs beside the bare process: one alone, and a hundred at once.

    python benchmarks/pod_start.py [--pods 100]

Runs the engine with the embedded API server on a temporary data directory, both in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from kubeling.apiserver.server import ApiServer, ApiServerConfig
from kubeling.engine.config import EngineConfig
from kubeling.engine.engine import Engine, open_engine
from kubeling.kube.client import Client
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj
from kubeling.kube.resources import PODS

COMMAND = "/bin/true"
REPEATS = 30


class Pods:
    """Creates pods and waits for their end, by watch."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self._client = client
        self._count = 0
        self._waiting: dict[str, asyncio.Event] = {}
        informers.of(PODS).add_handler(self._changed)

    async def run(self) -> None:
        self._count += 1
        name = f"bench-{self._count}"
        ended = self._waiting[name] = asyncio.Event()
        container = {"name": "main", "image": "busybox", "command": [COMMAND]}
        spec = {"restartPolicy": "Never", "containers": [container]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        await self._client.create(PODS, body, "default")
        await ended.wait()

    def _changed(self, _: Obj | None, new: Obj | None) -> None:
        if new is None or (new.get("status") or {}).get("phase") != "Succeeded":
            return
        if (waiting := self._waiting.pop(new["metadata"]["name"], None)) is not None:
            waiting.set()


def spawn() -> None:
    """The bare process."""
    os.waitpid(os.posix_spawn(COMMAND, [COMMAND], {}), 0)


async def milliseconds(work: Callable[[], Awaitable[None]]) -> list[float]:
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        await work()
        times.append((time.perf_counter() - begun) * 1000)
    return times


async def measure(engine: Engine, client: Client, pods: int) -> None:
    async with Informers(client) as informers:
        running = asyncio.create_task(engine.run(client, informers))
        await engine.ready.wait()
        await informers.synced(PODS)
        bench = Pods(client, informers)
        bare = await milliseconds(lambda: asyncio.to_thread(spawn))
        alone = await milliseconds(bench.run)
        begun = time.perf_counter()
        await asyncio.gather(*(bench.run() for _ in range(pods)))
        many = time.perf_counter() - begun
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    print(f"bare process    {min(bare):6.1f} ms best  {statistics.median(bare):6.1f} ms median")
    print(f"one pod         {min(alone):6.1f} ms best  {statistics.median(alone):6.1f} ms median")
    print(f"more by         {min(alone) - min(bare):6.1f} ms best")
    print(f"{pods} at once  {many:8.2f} s, {many / pods * 1000:.1f} ms each")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=100)
    pods = parser.parse_args().pods
    with tempfile.TemporaryDirectory() as folder:
        data, workspace = Path(folder, "data"), Path(folder, "workspace")
        os.mkdir(data)
        os.mkdir(workspace)
        server = ApiServer(ApiServerConfig(data_dir=data))
        await server.start()
        config = EngineConfig(data_dir=data, workspace=workspace, max_pods=pods + 10)
        async with open_engine(config) as engine:
            await measure(engine, Client(server.local_transport()), pods)
            await engine.end_pods()
        await server.stop()


if __name__ == "__main__":
    uvloop.run(main())
