"""The control plane without processes, and beside it a real platform.

The former is an API server, one room's controllers, and a node where every pod succeeds as soon as
it is created and has said nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from harness import platform

from kubeling.apiserver.node import NodeApi
from kubeling.apiserver.server import ApiServer, ApiServerConfig
from kubeling.component import Component, Context, Settings
from kubeling.kube.client import Client
from kubeling.kube.config import load
from kubeling.kube.controller import run_controllers
from kubeling.kube.https import HttpsTransport
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj
from kubeling.kube.resources import PODS

AT_ONCE = 8
_ENDED: Obj = {
    "phase": "Succeeded",
    "containerStatuses": [
        {
            "name": "main",
            "ready": False,
            "restartCount": 0,
            "image": "busybox",
            "imageID": "",
            "state": {"terminated": {"exitCode": 0}},
        }
    ],
}


class _Node:
    """Answers for the pods; of all that a node does, only logs are asked for."""

    async def logs(self, *_: object, **__: object) -> AsyncIterator[bytes]:
        said: tuple[bytes, ...] = ()
        for piece in said:
            yield piece


@contextlib.asynccontextmanager
async def control_plane(
    component: Component, runs: Callable[[Obj], None] = lambda _: None
) -> AsyncIterator[Client]:
    """All of it; ``runs`` is told of every pod before it has succeeded."""
    with TemporaryDirectory() as folder:
        data = Path(folder)
        server = ApiServer(
            ApiServerConfig(data),
            node=cast(NodeApi, _Node()),
            admission=dict(component.admission()),
            crds=list(component.crds()),
        )
        await server.start()
        client = Client(server.local_transport())
        async with Informers(client) as informers:
            created: asyncio.Queue[Obj] = asyncio.Queue()

            def changed(old: Obj | None, new: Obj | None) -> None:
                if old is None and new is not None:
                    created.put_nowait(new)

            async def node() -> None:
                while True:
                    pod = await created.get()
                    runs(pod)
                    await client.patch_status(PODS, pod["metadata"]["name"], _ENDED, "default")

            informers.of(PODS).add_handler(changed)
            context = Context(client, informers, Settings(data, data))
            running = [asyncio.create_task(node()) for _ in range(AT_ONCE)]
            controllers = run_controllers(component.controllers(context), informers)
            running.append(asyncio.create_task(controllers))
            yield client
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        await server.stop()


@contextlib.asynccontextmanager
async def real_platform() -> AsyncIterator[Client]:
    with platform() as running:
        running.up()
        client = Client(HttpsTransport(load(str(running.data / "kubeconfig"))))
        yield client
        await client.close()
