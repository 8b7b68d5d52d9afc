"""A cluster for the tuning controllers: a real API server, and Jobs played by a function.

Only what a node would do is played: each Job gets a pod from its template at once, the pod's log is
what the function returns, and the Job ends with the function's exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.apiserver import running_server

from kubeling.component import Context, Settings
from kubeling.kube.client import Client
from kubeling.kube.controller import run_controllers
from kubeling.kube.errors import NotFound
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, key_of, name, namespace, new_object
from kubeling.kube.resources import JOBS, PODS, Resource
from kubeling.kube.transport import Request, Transport, WatchEvent
from kubeling.tuning.component import COMPONENT

Work = Callable[[Obj], tuple[str, int | None]]
"""Takes a Job and returns its pod's log and exit code, or none where it does not end."""

TIMEOUT = 30


@dataclass
class WithLogs:
    """A transport that answers for the logs of played pods."""

    inner: Transport
    logs: dict[str, str] = field(default_factory=dict)
    endless: set[str] = field(default_factory=set)

    async def send(self, request: Request) -> Obj:
        return await self.inner.send(request)

    def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        return self.inner.watch(request)

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        pod = request.path.split("/")[-2]
        if pod not in self.logs:
            raise NotFound(f"pod {pod} not found")
        for line in self.logs[pod].splitlines():
            yield f"2026-01-01T00:00:00.123456789Z {line}\n".encode()
        if pod in self.endless:
            await asyncio.Event().wait()

    async def close(self) -> None:
        await self.inner.close()


@dataclass
class Cluster:
    """A running cluster and the Jobs it has seen."""

    client: Client
    informers: Informers
    context: Context
    work: Work
    transport: WithLogs
    jobs: list[str] = field(default_factory=list)
    together: int = 0
    most_together: int = 0

    async def until(
        self, resource: Resource, of: str, holds: Callable[[Obj], object] = bool
    ) -> Obj:
        """The object once it satisfies a condition."""
        reached: asyncio.Future[Obj] = asyncio.get_running_loop().create_future()

        def look(_: Obj | None, new: Obj | None) -> None:
            if new is not None and name(new) == of and holds(new) and not reached.done():
                reached.set_result(new)

        self.informers.of(resource).add_handler(look)
        return await asyncio.wait_for(reached, TIMEOUT)

    async def play(self) -> None:
        """Runs every Job that comes, each in its own task."""
        async with asyncio.TaskGroup() as group:
            async for event in self.client.watch(JOBS):
                if event.type == "ADDED":
                    group.create_task(self._run(event.object))

    async def _run(self, job: Obj) -> None:
        self.jobs.append(name(job))
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        text, code = self.work(job)
        template = job["spec"]["template"]
        where = namespace(job)
        pod = new_object(PODS, f"{name(job)}-x", where, owner=job, spec=template["spec"])
        pod["metadata"]["labels"] = template["metadata"].get("labels") or {}
        self.transport.logs[name(pod)] = text
        if code is None:
            self.transport.endless.add(name(pod))
        await self.client.create(PODS, pod)
        await self.client.patch_status(PODS, name(pod), _state(pod, code), where)
        if code is None:
            return
        self.together -= 1
        kinds = ("SuccessCriteriaMet", "Complete") if code == 0 else ("FailureTarget", "Failed")
        now = "2026-01-01T00:00:00Z"
        conditions = [
            {
                "type": kind,
                "status": "True",
                "reason": "BackoffLimitExceeded" if code else "CompletionsReached",
                "message": "Job has reached the specified backoff limit" if code else "",
                "lastProbeTime": now,
                "lastTransitionTime": now,
            }
            for kind in kinds
        ]
        status = {"conditions": conditions, "startTime": now}
        if code == 0:
            status |= {"completionTime": now, "succeeded": 1}
        with contextlib.suppress(NotFound):
            await self.client.patch_status(JOBS, name(job), status, where)


def _state(pod: Obj, code: int | None) -> Obj:
    statuses = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"running": {}} if code is None else {"terminated": {"exitCode": code}},
        }
        for container in pod["spec"]["containers"]
    ]
    phase = "Running" if code is None else "Failed" if code else "Succeeded"
    return {"phase": phase, "containerStatuses": statuses}


@contextlib.asynccontextmanager
async def running_cluster(
    tmp_path: Path, work: Work, *, controllers: bool = True
) -> AsyncIterator[Cluster]:
    """A server, the tuning controllers, and Jobs played by ``work``."""
    async with running_server(COMPONENT, data_dir=_folder(tmp_path)) as running:
        transport = WithLogs(running.client.transport)
        client = Client(transport)
        for where in ("team", "other"):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": where}}
            with contextlib.suppress(Exception):
                await client.raw("POST", "/api/v1/namespaces", body=body)
        async with Informers(client) as informers:
            context = Context(client, informers, Settings(tmp_path, tmp_path))
            cluster = Cluster(client, informers, context, work, transport)
            tasks = [asyncio.create_task(cluster.play())]
            if controllers:
                found = COMPONENT.controllers(context)
                tasks.append(asyncio.create_task(run_controllers(found, informers)))
            try:
                yield cluster
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                context.database.close()


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "server"
    folder.mkdir(exist_ok=True)
    return folder


def condition(of: str) -> Callable[[Obj], object]:
    """Whether an object has a condition that is True."""

    def holds(obj: Obj) -> object:
        conditions = (obj.get("status") or {}).get("conditions") or ()
        return any(c["type"] == of and c["status"] == "True" for c in conditions)

    return holds


def argument(job: Obj) -> str:
    """The last word of a Job's command."""
    command: list[str] = job["spec"]["template"]["spec"]["containers"][0]["command"]
    return command[-1]


__all__ = ["Cluster", "argument", "condition", "key_of", "running_cluster"]
