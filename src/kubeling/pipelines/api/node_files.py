"""What a step of a run left behind, by upstream's addresses: an output as base64, and its log.

A step is named by its pod, as upstream's pages do, by its task's id, or by its path in the run.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import IO, Any, Final

import msgspec
import sqlalchemy as sa
from aiohttp import web

from kubeling.kube.errors import BadRequest, NotFound
from kubeling.pipelines.api.contents import Contents
from kubeling.pipelines.api.errors import InvalidArgumentError, NotFoundError
from kubeling.pipelines.api.logs import stream_log
from kubeling.pipelines.api.service import Service
from kubeling.pipelines.api.wire import query_of
from kubeling.pipelines.logs import step_log
from kubeling.pipelines.nodes import TaskNode
from kubeling.pipelines.store import EXTERNAL
from kubeling.pipelines.tables import RUNS, TASKS

__all__ = ["NodeFileService"]

_T: Final = TASKS.c
_RUN: Final = (RUNS.c.run_id, RUNS.c.namespace, RUNS.c.name)
_LOGS: Final = ("main-logs", "executor-logs")
_PIECE: Final = 3 << 16  # a multiple of three: base64 of the pieces is base64 of the whole


class NodeFileService(Service):
    """Upstream's RunArtifactServer and RunLogServer."""

    resource = "runs"

    async def log(self, request: web.Request) -> web.StreamResponse:
        """The log of a step; with ``?follow=true`` as it is written."""
        run, node = await self._node(request)
        follow = query_of(request, "follow") == "true"
        return await stream_log(request, self._log(run, node, follow=follow))

    async def run_log(self, request: web.Request) -> web.StreamResponse:
        """What all steps of a run have said so far, one after another, as ``tail`` shows files."""
        return await stream_log(request, self._logs(*await self._steps(request)))

    async def _logs(self, run: Any, nodes: Iterable[TaskNode]) -> AsyncIterator[bytes]:
        for number, node in enumerate(nodes):
            yield f"{chr(10) if number else ''}==> {node.path} <==\n".encode()
            with contextlib.suppress(NotFound, BadRequest):
                async for piece in self._log(run, node):
                    yield piece

    def _log(self, run: Any, node: TaskNode, *, follow: bool = False) -> AsyncIterator[bytes]:
        context = self.context
        return step_log(
            context.client,
            context.artifacts,
            run.namespace,
            _pod(node),
            run_id=run.run_id,
            follow=follow,
        )

    async def artifact(self, request: web.Request) -> web.StreamResponse:
        """``{"data": "<base64>"}`` of an output artifact that is one file, or of the log."""
        run, node = await self._node(request)
        name = request.match_info["name"]
        found = node.outputs.artifacts.get(name)
        if not found and name in _LOGS:
            return await _as_streamed_data(request, self._log(run, node))
        if not found:
            known = ", ".join(sorted(node.outputs.artifacts)) or "none"
            raise NotFoundError(f"artifact not found: step {node.path} has no {name} ({known})")
        path = await asyncio.to_thread(Contents(self.context).file_of, found[0].uri)
        if path.is_dir():
            raise InvalidArgumentError(
                f"artifact {name} is a folder: GET /apis/v2beta1/artifacts/{found[0].id}/content "
                "lists its files"
            )
        file = await asyncio.to_thread(path.open, "rb")
        try:
            return await _as_data(request, file)
        finally:
            file.close()

    async def _node(self, request: web.Request) -> tuple[Any, TaskNode]:
        run_id, wanted = request.match_info["run"], request.match_info["node"]
        query = sa.select(*_RUN).where(RUNS.c.run_id == run_id)
        named = sa.or_(_T.pod == wanted, _T.task_id == wanted, _T.path == wanted)
        tasks = sa.select(_T.body).where(_T.run_id == run_id, _T.kind != EXTERNAL, named)

        def work(connection: sa.Connection) -> tuple[Any, bytes | None]:
            return connection.execute(query).first(), connection.execute(tasks).scalar()

        run, body = await self.database.run(work)
        if run is None:
            raise NotFoundError.of("Run", run_id)
        await self.allow(request, "readArtifact", run.namespace, run.name)
        if body is None:
            raise NotFoundError(f"run {run_id} has no step {wanted}")
        return run, msgspec.json.decode(body, type=TaskNode)

    async def _steps(self, request: web.Request) -> tuple[Any, list[TaskNode]]:
        run_id = request.match_info["run"]
        query = sa.select(*_RUN).where(RUNS.c.run_id == run_id)
        tasks = sa.select(_T.body).where(_T.run_id == run_id, _T.kind == "container")
        begun = tasks.where(_T.pod != "").order_by(_T.started_at, _T.path)

        def work(connection: sa.Connection) -> tuple[Any, list[bytes]]:
            return connection.execute(query).first(), list(connection.execute(begun).scalars())

        run, bodies = await self.database.run(work)
        if run is None:
            raise NotFoundError.of("Run", run_id)
        await self.allow(request, "readArtifact", run.namespace, run.name)
        return run, [msgspec.json.decode(body, type=TaskNode) for body in bodies]


def _pod(node: TaskNode) -> str:
    if not node.pod:
        raise NotFoundError(f"step {node.path} has no log: it ran in no pod")
    return node.pod


async def _as_data(request: web.Request, file: IO[bytes]) -> web.StreamResponse:
    piece = await asyncio.to_thread(file.read, _PIECE)
    response = await _begun(request)
    while piece:
        await response.write(base64.b64encode(piece))
        piece = await asyncio.to_thread(file.read, _PIECE)
    await response.write(b'"}')
    await response.write_eof()
    return response


async def _as_streamed_data(
    request: web.Request, pieces: AsyncIterator[bytes]
) -> web.StreamResponse:
    held = await anext(pieces, b"")
    response = await _begun(request)
    async for piece in pieces:
        held += piece
        whole = len(held) - len(held) % 3
        await response.write(base64.b64encode(held[:whole]))
        held = held[whole:]
    await response.write(base64.b64encode(held) + b'"}')
    await response.write_eof()
    return response


async def _begun(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
    )
    await response.prepare(request)
    await response.write(b'{"data":"')
    return response
