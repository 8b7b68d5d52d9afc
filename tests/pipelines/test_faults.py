"""A run survives the loss of any single request, before it reached the server or after.

Losing one makes the controller drop what it has in memory, which is what a crash does; so this
walks through every point at which a controller can be killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.pipelines.specs import dag, document, output_of, selected, step, task
from tests.pipelines.test_controller import controllers, ended, succeed
from tests.support.apiserver import running_server

from kubeling.component import Context, Settings
from kubeling.kube.client import Client
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, name, new_object
from kubeling.kube.resources import PODS
from kubeling.kube.transport import Request, Transport, WatchEvent
from kubeling.pipelines.component import COMPONENT
from kubeling.pipelines.pods import TASK_PATH
from kubeling.pipelines.resources import RUNS

STEP = step(x="NUMBER_INTEGER", outputs={"out": "NUMBER_INTEGER"})
BODY = dag(
    {"inner": task(inputs={"x": {"componentInputParameter": "x"}})},
    outputs={"out": selected("inner")},
    declared={"out": "LIST"},
    x="NUMBER_INTEGER",
)
ITERATOR = {"itemInput": "x", "items": {"raw": "[1, 2]"}}
PIPELINE = document(
    {
        "first": task(inputs={"x": 1}),
        "loop": task("body", "first", parameterIterator=ITERATOR),
        "last": task("sum", inputs={"x": output_of("loop")}),
    },
    {
        "step": STEP,
        "body": BODY,
        "sum": step("sum", x="LIST", outputs={"out": "NUMBER_INTEGER"}),
    },
)
PODS_OF_A_RUN = ["first", "last", "loop/0/inner", "loop/1/inner"]
REQUESTS = 14


class Fuse(Transport):
    """Loses the n-th write; ``late`` lets the server carry it out first."""

    def __init__(self, inner: Transport, n: int, late: bool) -> None:
        self._inner = inner
        self.left = n
        self._late = late

    async def send(self, request: Request) -> Obj:
        if request.method == "GET" or "events" in request.path:
            return await self._inner.send(request)
        self.left -= 1
        if self.left != 0:
            return await self._inner.send(request)
        if self._late:
            await self._inner.send(request)
        raise ConnectionError("the line is dead")

    def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        return self._inner.watch(request)

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        return self._inner.stream(request)

    async def close(self) -> None:
        await self._inner.close()


async def play_kubelet(context: Context, ran: list[str]) -> None:
    """Lets every pod succeed, once."""
    pods: asyncio.Queue[Obj] = asyncio.Queue()

    def look(old: Obj | None, new: Obj | None) -> None:
        if old is None and new is not None:
            pods.put_nowait(new)

    context.informers.of(PODS).add_handler(look)
    while True:
        pod = await pods.get()
        if not (pod.get("status") or {}).get("containerStatuses"):
            ran.append(pod["metadata"]["annotations"][TASK_PATH])
            await succeed(context, pod, out="1")


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
async def test_no_lost_request_matters(tmp_path: Path, late: bool) -> None:
    async with running_server(COMPONENT, data_dir=tmp_path) as server:
        for n in range(1, REQUESTS + 1):
            fuse = Fuse(server.client.transport, n, late)
            await _run_once(server.client, Client(fuse), tmp_path, f"r{n}")
        assert fuse.left > 0, "every write of a run was lost once"


async def _run_once(user: Client, flaky: Client, folder: Path, run_name: str) -> None:
    async with Informers(user) as informers, Informers(flaky) as own:
        settings = Settings(data_dir=folder, workspace=folder)
        mine, theirs = Context(user, informers, settings), Context(flaky, own, settings)
        ran: list[str] = []
        kubelet = asyncio.create_task(play_kubelet(mine, ran))
        try:
            async with controllers(theirs):
                spec = {"pipelineSpec": PIPELINE}
                await user.create(RUNS, new_object(RUNS, run_name, "default", spec=spec))
                run = await ended(mine, run_name)
        finally:
            kubelet.cancel()
            theirs.database.close()
        assert run["status"]["state"] == "SUCCEEDED"
        assert sorted(ran) == PODS_OF_A_RUN
        assert name(run) == run_name
