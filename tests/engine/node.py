"""A node under test: the real engine on a temporary data directory, against an API in memory."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.engine.memory_api import MemoryApi

from kubeling.engine.config import EngineConfig
from kubeling.engine.engine import Engine, open_engine
from kubeling.kube.client import Client
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj
from kubeling.kube.resources import CONFIG_MAPS, EVENTS, PODS, SECRETS

TIMEOUT = 20.0


def container(name: str = "main", script: str = "", **fields: Any) -> Obj:
    body: Obj = {"name": name, "image": "busybox"}
    if script:
        body["command"] = ["sh", "-c", script]
    return {**body, **fields}


def pod(name: str = "p", *containers: Obj, **spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "containers": list(containers),
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            **spec,
        },
        "status": {"phase": "Pending"},
    }


class Node:
    """The running engine and what a user would do with it."""

    def __init__(self, engine: Engine, client: Client, informers: Informers) -> None:
        self.engine = engine
        self.client = client
        self.informers = informers

    async def run(self, obj: Obj) -> Obj:
        """Creates a pod and waits for its end."""
        await self.create(obj)
        return await self.finished(obj["metadata"]["name"])

    async def create(self, obj: Obj) -> Obj:
        return await self.client.create(PODS, obj, "default")

    async def finished(self, name: str) -> Obj:
        return await self.until(name, lambda p: _phase(p) in ("Succeeded", "Failed"))

    async def running(self, name: str) -> Obj:
        return await self.until(name, lambda p: _phase(p) == "Running")

    async def until(self, name: str, holds: Callable[[Obj], Any]) -> Obj:
        found = await self.seen(PODS, lambda p: p["metadata"]["name"] == name and holds(p))
        assert found is not None
        return found

    async def gone(self, name: str) -> None:
        await self.vanished(PODS, name, "default")

    async def vanished(self, resource: Any, name: str, namespace: str = "") -> None:
        """Waits until an object is gone."""
        informer = self.informers.of(resource)
        done = asyncio.Event()

        def look(old: Obj | None, new: Obj | None) -> None:
            if informer.get(namespace, name) is None:
                done.set()

        informer.add_handler(look)
        look(None, None)
        async with asyncio.timeout(TIMEOUT):
            await done.wait()

    async def seen(self, resource: Any, holds: Callable[[Obj], Any]) -> Obj:
        """Waits until an object is as described."""
        informer = self.informers.of(resource)
        found: asyncio.Future[Obj] = asyncio.get_running_loop().create_future()

        def look(old: Obj | None, new: Obj | None) -> None:
            if new is not None and not found.done() and holds(new):
                found.set_result(new)

        informer.add_handler(look)
        try:
            async with asyncio.timeout(TIMEOUT):
                return await found
        except TimeoutError:
            states = [f"{o['metadata']['name']}: {o.get('status')}" for o in informer.list()]
            raise AssertionError("\n".join(["not seen; there are", *states])) from None

    async def event(self, reason: str) -> Obj:
        return await self.seen(EVENTS, lambda e: e["reason"] == reason)

    async def seen_event(self, reason: str, text: str) -> Obj:
        return await self.seen(EVENTS, lambda e: e["reason"] == reason and text in e["message"])

    async def logs(self, name: str, container: str = "", **options: Any) -> str:
        pieces = self.engine.node_api.logs("default", name, container, **options)
        return b"".join([piece async for piece in pieces]).decode()

    async def says(self, name: str, text: str) -> None:
        """Waits until a pod has written something."""
        said = b""
        async with asyncio.timeout(TIMEOUT):
            async for piece in self.engine.node_api.logs("default", name, follow=True):
                said += piece
                if text.encode() in said:
                    return
        raise AssertionError(f"{name} ended without saying {text!r}: {said!r}")

    async def config_map(self, name: str, **data: str) -> None:
        body = {"metadata": {"name": name}, "data": data}
        await self.client.create(CONFIG_MAPS, body, "default")

    async def secret(self, name: str, **data: str) -> None:
        body = {"metadata": {"name": name}, "stringData": data}
        await self.client.create(SECRETS, body, "default")


async def ended(pid: int) -> None:
    """Waits until a process is gone."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(process, gone.set)
    try:
        async with asyncio.timeout(TIMEOUT):
            await gone.wait()
    finally:
        loop.remove_reader(process)
        os.close(process)


async def removed(path: Path) -> None:
    """Waits until a file or folder is gone."""
    async with asyncio.timeout(TIMEOUT):
        for _ in itertools.count():
            if not await asyncio.to_thread(path.exists):
                return
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running_node(
    data_dir: Path, api: MemoryApi, *, end_pods: bool = True, **settings: Any
) -> AsyncIterator[Node]:
    """Runs the engine; without ``end_pods`` its pods live on, as after a crash."""
    workspace = data_dir.parent / "workspace"
    workspace.mkdir(parents=True, exist_ok=True)
    config = EngineConfig(data_dir=data_dir, workspace=workspace, **settings)
    client = Client(api)
    async with open_engine(config) as engine, Informers(client) as informers:
        running = asyncio.create_task(engine.run(client, informers))
        ready = asyncio.create_task(engine.ready.wait())
        await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        try:
            yield Node(engine, client, informers)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            if end_pods:
                await engine.end_pods()


@contextlib.asynccontextmanager
async def unprivileged_node(data_dir: Path, api: MemoryApi, **settings: Any) -> AsyncIterator[Node]:
    """A node that took itself, at its start, for one that is not root."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 1000)
        starting = running_node(data_dir, api, **settings)
        node = await starting.__aenter__()
    try:
        assert node.engine.walls.users
        yield node
    finally:
        await starting.__aexit__(None, None, None)


def _phase(obj: Obj) -> str:
    return str((obj.get("status") or {}).get("phase"))
