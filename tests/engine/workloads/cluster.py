"""What the workload tests use: a cluster to act on, and objects to put there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.apiserver import running_server

from kubeling.component import Context, Settings
from kubeling.engine.storage.all import ensure_storage_classes
from kubeling.engine.storage.snapshot_resources import snapshot_definitions
from kubeling.engine.workloads.all import controllers
from kubeling.kube.client import Client
from kubeling.kube.clock import SystemClock
from kubeling.kube.controller import run_controllers
from kubeling.kube.errors import ApiError, Conflict, NotFound
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, deletion_requested, format_time, labels, name, namespace, uid
from kubeling.kube.resources import NODES, PODS, Resource

PATIENCE = 10.0


class PretendNode:
    """Binds pods, calls them ready, and lets deleted ones go.

    A pod with the label ``outcome`` ends at once in that phase; with ``stuck`` it never gets ready.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._clock = SystemClock()
        self._addresses = 1
        self.address = ""
        """Where all pods are, if they are anywhere."""
        self._done: set[tuple[str, str]] = set()

    async def register(self) -> None:
        await self._client.create(NODES, {"apiVersion": "v1", "kind": "Node",
                                          "metadata": {"name": "here"}})  # fmt: skip

    async def run(self, informers: Informers) -> None:
        queue: asyncio.Queue[Obj] = asyncio.Queue()
        informers.of(PODS).add_handler(lambda _, new: queue.put_nowait(new) if new else None)
        while True:
            pod = await queue.get()
            try:
                await self._serve(pod)
            except (NotFound, Conflict):
                continue

    async def _serve(self, pod: Obj) -> None:
        title, where = name(pod), namespace(pod)
        if deletion_requested(pod):
            await self._client.delete(PODS, title, where, grace_period_seconds=0, uid=uid(pod))
            return
        if (uid(pod), "bound") in self._done:
            return
        self._done.add((uid(pod), "bound"))
        outcome = labels(pod).get("outcome", "Running")
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": title, "namespace": where},
            "target": {"apiVersion": "v1", "kind": "Node", "name": "here"},
        }
        await self._client.create_subresource(PODS, title, where, "binding", binding)
        self._addresses += 1
        ready = outcome == "Running" and "stuck" not in labels(pod)
        now = format_time(self._clock.now())
        await self._client.patch_status(
            PODS,
            title,
            {
                "phase": outcome,
                "podIP": self.address or f"10.244.0.{self._addresses}",
                "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": now}],
            },
            where,
        )


@dataclass
class Cluster:
    """A client with patience."""

    client: Client
    informers: Informers
    node: PretendNode
    names: list[str] = field(default_factory=list)

    async def until(
        self,
        resource: Resource,
        title: str,
        holds: Callable[[Obj], bool],
        where: str = "default",
    ) -> Obj:
        """Watches one object until ``holds``; returns it as it is then."""
        fields = f"metadata.name={title}"
        where = where if resource.namespaced else ""
        last: Obj = {}
        try:
            async with asyncio.timeout(PATIENCE):
                async for event in self.client.watch(resource, where, fields=fields):
                    last = event.object
                    if event.type in ("ADDED", "MODIFIED") and holds(last):
                        return last
        except TimeoutError:
            raise AssertionError(f"{resource} {title} never got there: {last}") from None
        raise AssertionError("the watch ended")

    async def until_gone(self, resource: Resource, title: str, where: str = "default") -> None:
        where = where if resource.namespaced else ""
        listed = await self.client.list(resource, where, fields=f"metadata.name={title}")
        if not listed.items:
            return
        stream = self.client.watch(
            resource,
            where,
            fields=f"metadata.name={title}",
            resource_version=listed.resource_version,
        )
        async with asyncio.timeout(PATIENCE):
            async for event in stream:
                if event.type == "DELETED":
                    return

    async def until_list(
        self,
        resource: Resource,
        holds: Callable[[list[Obj]], bool],
        where: str = "default",
        selector: str = "",
    ) -> list[Obj]:
        """Waits until the collection is as wanted."""
        found: list[Obj] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    listed = await self.client.list(resource, where, labels=selector)
                    found = listed.items
                    if holds(found):
                        return found
                    stream = self.client.watch(
                        resource, where, labels=selector, resource_version=listed.resource_version
                    )
                    await anext(stream, None)
        except TimeoutError:
            raise AssertionError(
                f"{resource} never got there: {[name(obj) for obj in found]}"
            ) from None

    async def exists(self, resource: Resource, title: str, where: str = "default") -> bool:
        try:
            await self.client.get(resource, title, where if resource.namespaced else "")
        except ApiError:
            return False
        return True


@contextlib.asynccontextmanager
async def running_cluster(folder: Path) -> AsyncIterator[Cluster]:
    """Runs a server, the controllers and the node."""
    async with (
        running_server(data_dir=folder, crds=snapshot_definitions()) as running,
        Informers(running.client) as informers,
    ):
        settings = Settings(data_dir=folder, workspace=folder)
        context = Context(running.client, informers, settings)
        await ensure_storage_classes(running.client)
        node = PretendNode(running.client)
        await node.register()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(run_controllers(controllers(context), informers)),
                group.create_task(node.run(informers)),
            ]
            yield Cluster(running.client, informers, node)
            for task in tasks:
                task.cancel()


def template(app: str = "web", image: str = "pause", **extra: Any) -> Obj:
    spec: Obj = {"containers": [{"name": "main", "image": image}]}
    return {
        "metadata": {"labels": {"app": app, **extra.pop("labels", {})}},
        "spec": {**spec, **extra},
    }


def workload(kind: str, title: str = "web", api_version: str = "apps/v1", **spec: Any) -> Obj:
    content = {"selector": {"matchLabels": {"app": title}}, "template": template(title), **spec}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": title, "namespace": "default"},
        "spec": content,
    }


def job(title: str = "work", **spec: Any) -> Obj:
    labels_ = spec.pop("labels", {})
    content = template(title, labels=labels_, restartPolicy="Never")
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": title, "namespace": "default"},
        "spec": {"template": content, **spec},
    }
