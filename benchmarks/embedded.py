"""The engine with the embedded API server, both in this process, for benchmarks of pods."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kubeling.apiserver.server import ApiServer, ApiServerConfig
from kubeling.engine.config import EngineConfig
from kubeling.engine.engine import open_engine
from kubeling.kube.client import Client
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj
from kubeling.kube.resources import PODS

COMMAND = "/bin/true"
_ENDED = ("Succeeded", "Failed")


class Pods:
    """Creates pods and waits for their end, by watch."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self._client = client
        self._count = 0
        self._waiting: dict[str, asyncio.Event] = {}
        informers.of(PODS).add_handler(self._changed)

    async def run(self, fields: Obj | None = None, annotations: Obj | None = None) -> None:
        """Runs a pod, one of the bare process unless its container's ``fields`` say otherwise."""
        self._count += 1
        name = f"bench-{self._count}"
        ended = self._waiting[name] = asyncio.Event()
        container = {"name": "main", **(fields or {"image": "busybox", "command": [COMMAND]})}
        spec = {"restartPolicy": "Never", "containers": [container]}
        metadata = {"name": name, "annotations": annotations or {}}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        await self._client.create(PODS, body, "default")
        await ended.wait()

    def _changed(self, _: Obj | None, new: Obj | None) -> None:
        if new is None or (phase := (new.get("status") or {}).get("phase")) not in _ENDED:
            return
        if phase == "Failed":
            sys.exit(f"a pod failed: {new['status']}")
        if (waiting := self._waiting.pop(new["metadata"]["name"], None)) is not None:
            waiting.set()


@asynccontextmanager
async def pods() -> AsyncIterator[Pods]:
    """A platform on a temporary data directory; all of it goes with the block."""
    with tempfile.TemporaryDirectory() as folder:
        data, workspace = Path(folder, "data"), Path(folder, "workspace")
        os.mkdir(data)
        os.mkdir(workspace)
        server = ApiServer(ApiServerConfig(data_dir=data))
        await server.start()
        client = Client(server.local_transport())
        config = EngineConfig(data_dir=data, workspace=workspace)
        async with open_engine(config) as engine, Informers(client) as informers:
            running = asyncio.create_task(engine.run(client, informers))
            await engine.ready.wait()
            await informers.synced(PODS)
            yield Pods(client, informers)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await engine.end_pods()
        await server.stop()


def spawn() -> None:
    """The bare process."""
    os.waitpid(os.posix_spawn(COMMAND, [COMMAND], {}), 0)
