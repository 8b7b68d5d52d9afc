"""A server, a node and the workflows controllers, for tests with real pods."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kubeling.apiserver.server import ApiServer, ApiServerConfig
from kubeling.component import Component, Context, Settings
from kubeling.engine.config import EngineConfig
from kubeling.engine.engine import open_engine
from kubeling.engine.storage.binding import standard_class
from kubeling.engine.storage.claims import claim_controller
from kubeling.engine.storage.reclaiming import volume_controller
from kubeling.kube.client import Client, ObjectList
from kubeling.kube.controller import run_controllers
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj
from kubeling.kube.resources import EVENTS, PODS, STORAGE_CLASSES, Resource
from kubeling.monitoring.registry import Registry
from kubeling.workflows.component import COMPONENT
from kubeling.workflows.resources import WORKFLOWS


@dataclass
class Cluster:
    """A running platform, as far as workflows need one."""

    client: Client
    context: Context
    component: Component = COMPONENT
    metrics: Registry = field(default_factory=Registry)

    @property
    def workspace(self) -> Path:
        """The folder steps start in."""
        return self.context.settings.workspace

    @property
    def artifacts(self) -> Path:
        """The folder of the artifact store."""
        return self.context.settings.data_dir / "artifacts"

    @contextlib.asynccontextmanager
    async def controllers(self) -> AsyncIterator[None]:
        """Runs the workflow controllers until the end of the block."""
        async with Informers(self.client) as informers:
            context = Context(self.client, informers, self.context.settings)
            self.metrics = context.metrics
            await self.client.apply(STORAGE_CLASSES, standard_class())
            # The folder that stages share is a claim.
            ours = [*self.component.controllers(context), claim_controller(context)]
            ours.append(volume_controller(context))
            task = asyncio.create_task(run_controllers(ours, informers))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def run(self, workflow: Obj, within: float = 60) -> Obj:
        """Creates a workflow and waits for its end."""
        created = await self.client.create(WORKFLOWS, workflow, "default")
        return await self.ended(created["metadata"]["name"], within)

    async def ended(self, name: str, within: float = 60) -> Obj:
        """The workflow, when it has come to its end."""
        label = "workflows.argoproj.io/completed"
        return await self.seen(
            name, lambda wf: wf["metadata"].get("labels", {}).get(label) == "true", within
        )

    async def seen(self, name: str, wanted: Callable[[Obj], bool], within: float = 60) -> Obj:
        """The workflow, when it looks as wanted."""
        async with asyncio.timeout(within):
            async for event in self.client.watch(WORKFLOWS, "default"):
                found = event.object
                named = found.get("metadata", {}).get("name") == name
                if named and found.get("status") and wanted(found):
                    return await self.client.get(WORKFLOWS, name, "default")
        raise AssertionError("the watch ended")

    async def event(self, reason: str, within: float = 60) -> Obj:
        """The first event with that reason."""
        async with asyncio.timeout(within):
            async for event in self.client.watch(EVENTS, "default"):
                if event.object.get("reason") == reason:
                    return event.object
        raise AssertionError("the watch ended")

    async def log(self, pod: str) -> str:
        """What the main container of a pod printed."""
        chunks = [chunk async for chunk in self.client.logs(pod, "default", container="main")]
        return b"".join(chunks).decode()

    async def over(self, pod: str, within: float = 60) -> None:
        """Waits until nothing of a pod runs, however it ended; it is still there."""
        fields = f"metadata.name={pod}"
        async with asyncio.timeout(within):
            async for event in self.client.watch(PODS, "default", fields=fields):
                if event.object["status"].get("phase") in ("Succeeded", "Failed"):
                    return
        raise AssertionError("the watch ended")

    async def gone(
        self, resource: Resource, within: float = 60, labels: str = "", keep: int = 0
    ) -> None:
        """Waits until there is no object of the resource, or at most ``keep`` with the labels."""
        async with asyncio.timeout(within):
            while len((found := await self.list(resource, labels)).items) > keep:
                version = found.resource_version
                async for event in self.client.watch(resource, "default", resource_version=version):
                    if event.type == "DELETED":
                        break

    async def list(self, resource: Resource, labels: str = "") -> ObjectList:
        """What there is of a resource."""
        return await self.client.list(resource, "default", labels=labels)


@contextlib.asynccontextmanager
async def cluster_in(folder: Path, component: Component = COMPONENT) -> AsyncIterator[Cluster]:
    """A server and a node that keep their files in ``folder``; no controllers yet."""
    data, workspace = folder / "data", folder / "workspace"
    data.mkdir(parents=True, exist_ok=True)
    workspace.mkdir(exist_ok=True)
    config = EngineConfig(data_dir=data, workspace=workspace, pod_networks=False)
    async with contextlib.AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_engine(config))
        stack.push_async_callback(engine.end_pods)
        server = ApiServer(
            ApiServerConfig(data),
            node=engine.node_api,
            admission=dict(component.admission()),
            crds=list(component.crds()),
        )
        await server.start()
        stack.push_async_callback(server.stop)
        client = Client(server.local_transport())
        informers = await stack.enter_async_context(Informers(client))
        node = asyncio.create_task(engine.run(client, informers))
        await engine.ready.wait()
        settings = Settings(data_dir=data, workspace=workspace)
        try:
            yield Cluster(client, Context(client, informers, settings), component)
        finally:
            node.cancel()
            await asyncio.gather(node, return_exceptions=True)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """A platform with the workflow controllers."""
    with tempfile.TemporaryDirectory(prefix="kubeling-", ignore_cleanup_errors=True) as folder:
        async with cluster_in(Path(folder)) as cluster, cluster.controllers():
            yield cluster
