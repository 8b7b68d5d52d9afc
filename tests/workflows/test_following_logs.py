"""Following the logs of a Workflow that writes faster than anybody reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from kubeling.kube.client import Client
from kubeling.kube.objects import Obj
from kubeling.kube.transport import Request, WatchEvent
from kubeling.workflows.logs import LogQuery, workflow_logs

WORKFLOW: Obj = {"metadata": {"name": "talks", "namespace": "team", "uid": "w"}, "spec": {}}
POD: Obj = {
    "metadata": {"name": "talks-pod", "namespace": "team", "uid": "p"},
    "spec": {"containers": [{"name": "main"}]},
    "status": {"phase": "Running"},
}
_MANY = 3000


class Talkative:
    """An API with one pod, whose log has no end."""

    async def send(self, request: Request) -> Obj:
        return WORKFLOW

    async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        if request.path.endswith("/pods"):
            yield WatchEvent("ADDED", POD)
        await asyncio.Event().wait()

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        while True:
            yield b"2026-01-01T00:00:00Z line\n" * _MANY

    async def close(self) -> None:
        return


async def test_who_stops_reading_is_let_go_however_much_waits() -> None:
    api = Talkative()

    async def hydrated(workflow: Obj) -> Obj:
        return workflow

    lines = workflow_logs(Client(api), "team", "talks", LogQuery(follow=True), hydrated)
    async with asyncio.timeout(60), aclosing(lines):
        assert (await anext(lines)).content == "line"
        for _ in range(10):
            # The writer gets its turns, and fills the queue again.
            await asyncio.sleep(0)
