"""Serving's controllers against a real API server, with the node's part played by the test.

Playing the node means writing what one reports: a test decides which pods become ready and which
fail, and how. The tests in tests/e2e run the same services on the real node.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.support.apiserver import running_server

from kubeling.component import Context, Settings
from kubeling.gateway.app import create_app
from kubeling.gateway.door import DoorSite, takers_of
from kubeling.kube.client import Client
from kubeling.kube.controller import run_controllers
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, labels, name, new_object
from kubeling.kube.resources import DEPLOYMENTS, EVENTS, NAMESPACES, PODS, SERVICES, Resource
from kubeling.serving import names
from kubeling.serving.component import COMPONENT
from kubeling.serving.resources import INFERENCE_SERVICES

NAMESPACE = "default"


@dataclass
class Serving:
    """A running room: its client, context, and what tests do most."""

    client: Client
    context: Context
    kubeconfig: Path | None = None
    """For others' processes, if there are to be any."""

    async def apply(self, resource: Resource, obj: Obj) -> Obj:
        return await self.client.apply(resource, obj)

    async def service(self, title: str, **spec: Any) -> Obj:
        """Applies an InferenceService."""
        obj = {
            "apiVersion": INFERENCE_SERVICES.api_version,
            "kind": INFERENCE_SERVICES.kind,
            "metadata": {"name": title, "namespace": NAMESPACE},
            "spec": spec,
        }
        return await self.apply(INFERENCE_SERVICES, obj)

    async def until(
        self, resource: Resource, title: str, holds: Callable[[Obj], bool], seconds: float = 10
    ) -> Obj:
        """Waits (by watching) until an object exists and something holds of it."""
        last: Obj = {}
        try:
            async with asyncio.timeout(seconds):
                fields = f"metadata.name={title}"
                async for event in self.client.watch(resource, NAMESPACE, fields=fields):
                    if event.type in ("ADDED", "MODIFIED"):
                        last = event.object
                        if holds(last):
                            return last
        except TimeoutError:
            raise AssertionError(f"{resource} {title} stayed as it was: {last}") from None
        raise AssertionError(f"the watch of {resource} {title} ended: {last}")

    async def exists(self, resource: Resource, title: str) -> Obj:
        return await self.until(resource, title, lambda _: True)

    async def gone(self, resource: Resource, title: str) -> None:
        """Waits until an object is no more."""
        async with asyncio.timeout(10):
            version = (await self.client.list(resource, NAMESPACE)).resource_version
            if await self.client.find(resource, title, NAMESPACE) is None:
                return
            changes = self.client.watch(resource, NAMESPACE, resource_version=version)
            async for change in changes:
                if change.type == "DELETED" and name(change.object) == title:
                    return

    async def event(self, message: str) -> Obj:
        """Waits for an Event that says exactly this."""
        async with asyncio.timeout(10):
            async for change in self.client.watch(EVENTS, NAMESPACE):
                if change.object.get("message") == message:
                    return change.object
        raise AssertionError(f"the watch of events ended before: {message}")

    async def gateway(self) -> None:
        """The Service by which pods reach the inference gateway."""
        where, title = names.GATEWAY
        for space in (where, NAMESPACE):
            if await self.client.find(NAMESPACES, space) is None:
                await self.client.create(NAMESPACES, new_object(NAMESPACES, space))
        spec = {"ports": [{"port": 80}]}
        await self.client.apply(SERVICES, new_object(SERVICES, title, where, spec=spec))

    async def begin(self, title: str, address: str = "127.0.0.1") -> None:
        """The node starts a Deployment's pod, and does not know yet whether it is ready."""
        deployment = await self.until(DEPLOYMENTS, title, _wants_pods)
        pod = await self._pod(deployment)
        status = {"phase": "Running", "podIP": address}
        await self.client.patch_status(PODS, name(pod), status, NAMESPACE)

    async def start(self, title: str, address: str = "127.0.0.1") -> None:
        """The node runs a Deployment: one ready pod at ``address``."""
        deployment = await self.until(DEPLOYMENTS, title, _wants_pods)
        pod = await self._pod(deployment)
        await self._report(pod, address)
        count = deployment["spec"]["replicas"]
        status = {
            "replicas": count,
            "readyReplicas": count,
            "availableReplicas": count,
            "conditions": [{"type": "Available", "status": "True"}],
        }
        await self.client.patch_status(DEPLOYMENTS, title, status, NAMESPACE)

    async def restarted(self, title: str) -> None:
        """The container of a Deployment's pod has ended, runs again and is ready."""
        pod = await self._pod(await self.exists(DEPLOYMENTS, title))
        entry = {"name": "kserve-container", "image": "x", "imageID": "", "restartCount": 1}
        entry |= {"ready": True}
        status = {"containerStatuses": [entry]}
        await self.client.patch_status(PODS, name(pod), status, NAMESPACE)

    async def lack(self, title: str, message: str) -> None:
        """All but the first of a Deployment's pods crash, and are kept from starting."""
        deployment = await self.exists(DEPLOYMENTS, title)
        pod = await self._pod(deployment, f"{title}-crashed")
        waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
        ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": message}}
        entry = {"name": "kserve-container", "image": "x", "imageID": "", "restartCount": 1}
        entry |= {"ready": False, "state": waiting, "lastState": ended}
        crashed = {"phase": "Running", "containerStatuses": [entry]}
        await self.client.patch_status(PODS, name(pod), crashed, NAMESPACE)
        status = {"readyReplicas": 1, "conditions": [{"type": "Available", "status": "False"}]}
        await self.client.patch_status(DEPLOYMENTS, title, status, NAMESPACE)

    async def fail(self, title: str, container: str, message: str, init: bool = False) -> None:
        """The node cannot run a Deployment's pod: a container ends with a message."""
        deployment = await self.exists(DEPLOYMENTS, title)
        pod = await self._pod(deployment)
        ended = {"exitCode": 1, "reason": "Error", "message": message}
        entry = {
            "name": container,
            "ready": False,
            "image": "x",
            "imageID": "",
            "restartCount": 1,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": ended},
        }
        field = "initContainerStatuses" if init else "containerStatuses"
        status = {"phase": "Pending", field: [entry]}
        await self.client.patch_status(PODS, name(pod), status, NAMESPACE)

    async def stop(self, title: str) -> None:
        """The node has ended a Deployment's pods."""
        selector = labels(await self.exists(DEPLOYMENTS, title))
        text = ",".join(f"{key}={value}" for key, value in selector.items())
        await self.client.delete_collection(PODS, NAMESPACE, labels=text)
        empty = {"replicas": 0, "readyReplicas": 0, "availableReplicas": 0, "conditions": []}
        await self.client.patch_status(DEPLOYMENTS, title, empty, NAMESPACE)

    async def _pod(self, deployment: Obj, title: str = "") -> Obj:
        template = deployment["spec"]["template"]
        title = title or f"{name(deployment)}-pod"
        found = await self.client.find(PODS, title, NAMESPACE)
        if found is not None:
            return found
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**template["metadata"], "name": title, "namespace": NAMESPACE},
            "spec": template["spec"],
        }
        return await self.client.create(PODS, pod, NAMESPACE)

    async def _report(self, pod: Obj, address: str) -> None:
        ready = {"type": "Ready", "status": "True"}
        status = {"phase": "Running", "podIP": address, "conditions": [ready]}
        status["containerStatuses"] = []
        status["initContainerStatuses"] = []
        await self.client.patch_status(PODS, name(pod), status, NAMESPACE)


def _wants_pods(deployment: Obj) -> bool:
    return bool(deployment["spec"]["replicas"])


@contextlib.asynccontextmanager
async def running_serving(
    tmp_path: Path, *, https: bool = False, **set_: Any
) -> AsyncIterator[Serving]:
    """Serving's controllers on a server of their own, with settings of the room."""
    async with (
        running_server(COMPONENT, https=https) as running,
        Informers(running.client) as informers,
    ):
        settings = Settings(data_dir=tmp_path, workspace=tmp_path, rooms={"serving": set_})
        context = Context(running.client, informers, settings)
        task = asyncio.create_task(run_controllers(COMPONENT.controllers(context), informers))
        try:
            yield Serving(running.client, context, running.kubeconfig if https else None)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.asynccontextmanager
async def front_door(context: Context) -> AsyncIterator[int]:
    """The gateway as the platform serves it; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    runner = web.AppRunner(create_app(context, [COMPONENT]), shutdown_timeout=0.1)
    await runner.setup()
    await DoorSite(runner, listener, takers_of(context, [COMPONENT]), 0.1).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        await runner.cleanup()


def traffic(isvc: Obj) -> dict[str, int]:
    """Percent by revision, as the status says."""
    predictor = (isvc.get("status") or {}).get("components", {}).get("predictor", {})
    return {entry["revisionName"]: entry["percent"] for entry in predictor.get("traffic") or ()}


def is_ready(isvc: Obj) -> bool:
    """Ready, and not by an older generation's word."""
    status = isvc.get("status") or {}
    ready = [c for c in status.get("conditions") or () if c["type"] == "Ready"]
    return (
        status.get("observedGeneration") == isvc["metadata"]["generation"]
        and bool(ready)
        and ready[0]["status"] == "True"
    )
