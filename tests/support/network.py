"""A cluster's network in one process: API, node, Services and names, with pods that really run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.apiserver import running_server

from kubeling.component import Context, Settings
from kubeling.engine.config import EngineConfig
from kubeling.engine.engine import Engine, prepare_engine
from kubeling.engine.node_api import ExecSession
from kubeling.engine.servicenet.network import prepare_service_network
from kubeling.engine.servicenet.nodehosts import node_hosts
from kubeling.engine.workloads import endpoints
from kubeling.kube.client import Client
from kubeling.kube.errors import BadRequest
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import EVENTS, NAMESPACES, PODS, SERVICES, Resource

__all__ = ["SERVER", "ClusterNetwork", "running_network"]

PATIENCE = 30.0
"""Seconds until something that should happen soon is given up on."""

# Greets on two TCP ports and echoes on a UDP one.
SERVER = """
import socket, threading
def greet(listener):
    while True:
        with listener.accept()[0] as caller: caller.sendall(socket.gethostname().encode())
def echo(channel):
    while True:
        data, sender = channel.recvfrom(99); channel.sendto(data, sender)
for port in (80, 81):
    threading.Thread(target=greet, args=(socket.create_server(("", port)),)).start()
channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); channel.bind(("", 53))
threading.Thread(target=echo, args=(channel,)).start()
print("ready", flush=True)
"""
_TRY = """
import json, socket, sys
def attempt(where):
    protocol, host, port = where.split("/")
    try:
        if protocol == "udp":
            channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            channel.settimeout(10); channel.connect((host, int(port)))
            channel.send(b"?"); return channel.recv(9).decode()
        with socket.create_connection((host, int(port)), 10) as channel:
            return channel.recv(99).decode() or "nothing"
    except OSError:
        return ""
print(json.dumps([attempt(where) for where in sys.argv[1:]]))
"""


@dataclass
class ClusterNetwork:
    """What runs, and what a user would do with it."""

    client: Client
    informers: Informers
    engine: Engine
    dns: str

    async def namespace(self, title: str, **labels: str) -> None:
        await self.client.create(NAMESPACES, new_object(NAMESPACES, title, labels=labels))

    async def pod(self, title: str, where: str = "default", script: str = "", **spec: Any) -> str:
        """Starts a pod that greets on its ports (or runs the script), and tells its address."""
        ports = [
            {"name": "web", "containerPort": 80},
            {"name": "echo", "containerPort": 53, "protocol": "UDP"},
        ]
        main = {"name": "main", "image": "python", "ports": ports, **spec.pop("main", {})}
        main["command"] = ["python3", "-uc", script or SERVER]
        whole = {"containers": [main], "terminationGracePeriodSeconds": 0, **spec}
        await self.client.create(
            PODS, new_object(PODS, title, where, labels={"app": title}, spec=whole)
        )
        await self.says(title, "ready", where)
        found = await self.until(PODS, title, where, lambda p: p["status"].get("podIP"))
        return str(found["status"]["podIP"])

    async def pods(self, *titles: str) -> list[str]:
        """Several pods, started side by side."""
        return list(await asyncio.gather(*(self.pod(title) for title in titles)))

    async def says(self, title: str, text: str, where: str = "default") -> None:
        """Waits until a pod has written something."""
        await self.until(PODS, title, where, _has_started)
        said = b""
        async with asyncio.timeout(PATIENCE):
            async for piece in self.engine.node_api.logs(where, title, follow=True):
                said += piece
                if text.encode() in said:
                    return
        status = (await self.client.get(PODS, title, where))["status"]
        raise AssertionError(f"{title} ended without saying {text!r}: {said!r}; {status}")

    async def service(self, title: str, where: str = "default", **spec: Any) -> str:
        """A Service in front of the pod of its name; returns its address."""
        ports = [
            {"name": "web", "port": 80, "targetPort": "web"},
            {"name": "echo", "port": 53, "targetPort": "echo", "protocol": "UDP"},
        ]
        body = new_object(
            SERVICES, title, where, spec={"selector": {"app": title}, "ports": ports, **spec}
        )
        return str((await self.client.create(SERVICES, body))["spec"]["clusterIP"])

    async def tries(self, pod: str, *places: str, where: str = "default") -> list[str]:
        """What a pod hears at places such as ``tcp/10.0.0.1/80``; empty where it is refused."""
        text = await self.run_in(pod, "python3", "-c", _TRY, *places, where=where)
        return list(json.loads(text))

    async def run_in(self, pod: str, *command: str, where: str = "default") -> str:
        """The output of a command in a pod."""
        session = await self._session(pod, where, list(command))
        pieces = [data async for _, data in session.output()]
        await session.wait()
        return b"".join(pieces).decode()

    async def _session(self, pod: str, where: str, command: list[str]) -> ExecSession:
        """A pod that lived on is found again soon after a restart."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(BadRequest):
                    return await self.engine.node_api.exec(where, pod, "main", command)
                await asyncio.sleep(0)

    async def until(
        self, resource: Resource, title: str, where: str, holds: Callable[[Obj], Any]
    ) -> Obj:
        fields = f"metadata.name={title}"
        async with asyncio.timeout(PATIENCE):
            async for event in self.client.watch(resource, where, fields=fields):
                if event.type in ("ADDED", "MODIFIED") and holds(event.object):
                    return event.object
        raise AssertionError("the watch ended")

    async def event(self, reason: str, about: str, where: str = "default") -> Obj:
        async with asyncio.timeout(PATIENCE):
            async for event in self.client.watch(EVENTS, where):
                found: Obj = event.object
                if event.type == "BOOKMARK" or found["reason"] != reason:
                    continue
                if found["involvedObject"]["name"] == about:
                    return found
        raise AssertionError("the watch ended")

    async def becomes(self, wanted: Any, attempt: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Tries until the outcome is as wanted: what is written takes effect soon."""
        seen = None
        try:
            async with asyncio.timeout(PATIENCE):
                while (seen := await attempt()) != wanted:
                    pass
        except TimeoutError:
            raise AssertionError(f"it stays {seen}, not {wanted}") from None


@contextlib.asynccontextmanager
async def running_network(
    data_dir: Path | None = None, *, end_pods: bool = True, **settings: Any
) -> AsyncIterator[ClusterNetwork]:
    """Runs all of it; without ``end_pods`` pods live on, as after a crash."""
    async with contextlib.AsyncExitStack() as stack:
        if data_dir is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kubeling-"))
            data_dir = Path(folder) / "data"
        workspace = data_dir.parent / "workspace"
        workspace.mkdir(parents=True, exist_ok=True)
        services = await prepare_service_network(data_dir)
        stack.callback(services.close)
        config = EngineConfig(
            data_dir=data_dir,
            workspace=workspace,
            dns_server=services.dns_address,
            service_cidr=services.cidr,
            **settings,
        )
        engine = await prepare_engine(config)
        stack.push_async_callback(engine.close)
        if end_pods:
            stack.push_async_callback(engine.end_pods)
        running = await stack.enter_async_context(
            running_server(
                data_dir=data_dir / "api", node=engine.node_api, service_cidr=services.cidr
            )
        )
        informers = await stack.enter_async_context(Informers(running.client))
        context = Context(running.client, informers, Settings(data_dir, workspace))
        hosts = node_hosts("127.0.0.1", engine.host_ip)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(engine.run(running.client, informers)),
                group.create_task(services.run(context, hosts, engine.policies)),
                group.create_task(endpoints.controller(context).run(informers)),
            ]
            await engine.ready.wait()
            await services.ready.wait()
            yield ClusterNetwork(running.client, informers, engine, services.dns_address)
            for task in tasks:
                task.cancel()


def _has_started(pod: Obj) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any("waiting" not in status["state"] for status in statuses)
