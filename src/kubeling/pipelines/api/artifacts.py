"""Artifacts, the tasks of runs, and which task made or used which artifact.

Upstream has no REST for these; the shape is the one it plans (KEP-12147), with the values of
parameters and the cache's reasons added.
"""

from __future__ import annotations

import asyncio
import mimetypes
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from aiohttp import web

from kubeling.artifacts.store import ArtifactError, local_path
from kubeling.kube.objects import Obj
from kubeling.pipelines.api.errors import ApiFailure, InvalidArgumentError, NotFoundError
from kubeling.pipelines.api.listing import Listable, list_rows
from kubeling.pipelines.api.paging import list_options
from kubeling.pipelines.api.service import Service
from kubeling.pipelines.api.wire import answer, compact, query_of, wire_time
from kubeling.pipelines.nodes import TaskNode, task_id
from kubeling.pipelines.tables import ARTIFACT_TASKS, ARTIFACTS, TASKS

__all__ = ["ArtifactService"]

_A: Final = ARTIFACTS.c
_L: Final = ARTIFACT_TASKS.c
_T: Final = TASKS.c
_MAX_LISTED: Final = 1000
_ARTIFACTS: Final = Listable(
    ARTIFACTS,
    _A.artifact_id,
    {
        "artifact_id": _A.artifact_id,
        "name": _A.name,
        "type": _A.type,
        "uri": _A.uri,
        "namespace": _A.namespace,
        "created_at": _A.created_at,
    },
    _A.created_at,
)
_TASKS: Final = Listable(
    TASKS,
    _T.task_id,
    {
        "task_id": _T.task_id,
        "run_id": _T.run_id,
        "name": _T.name,
        "display_name": _T.display_name,
        "state": _T.state,
        "type": _T.kind,
        "create_time": _T.created_at,
        "start_time": _T.started_at,
        "end_time": _T.finished_at,
    },
    _T.created_at,
)
_LINKS: Final = Listable(
    ARTIFACT_TASKS,
    _L.artifact_task_id,
    {
        "artifact_task_id": _L.artifact_task_id,
        "artifact_id": _L.artifact_id,
        "task_id": _L.task_id,
        "run_id": _L.run_id,
        "type": _L.direction,
    },
    _L.artifact_task_id,
)


class ArtifactService(Service):
    """The native API of artifacts and lineage."""

    resource = "runs"

    async def list(self, request: web.Request) -> Obj:
        options = list_options(request)
        conditions = []
        if namespace := query_of(request, "namespace"):
            conditions.append(_A.namespace == namespace)
        if run_id := query_of(request, "run_id"):
            made = sa.select(_L.artifact_id).where(_L.run_id == run_id, _L.direction == "OUTPUT")
            conditions.append(_A.artifact_id.in_(made))
        page = await self.database.run(
            lambda c: list_rows(c, _ARTIFACTS, options, list(ARTIFACTS.c), *conditions)
        )
        return compact(
            artifacts=[_artifact(row) for row in page.rows],
            total_size=page.total,
            next_page_token=page.next_token,
        )

    async def get(self, request: web.Request) -> Obj:
        return _artifact(await self._row(request))

    async def list_artifact_tasks(self, request: web.Request) -> Obj:
        options = list_options(request)
        conditions = []
        for name, column in (("run_ids", _L.run_id), ("task_ids", _L.task_id)):
            if wanted := request.query.getall(name, []):
                conditions.append(column.in_(wanted))
        if artifacts := request.query.getall("artifact_ids", []):
            conditions.append(_L.artifact_id.in_([_number(text) for text in artifacts]))
        page = await self.database.run(
            lambda c: list_rows(c, _LINKS, options, list(ARTIFACT_TASKS.c), *conditions)
        )
        links = [
            {
                "artifact_id": str(row.artifact_id),
                "task_id": row.task_id,
                "run_id": row.run_id,
                "type": row.direction,
                "key": row.key,
            }
            for row in page.rows
        ]
        return compact(artifact_tasks=links, total_size=page.total, next_page_token=page.next_token)

    async def list_tasks(self, request: web.Request) -> Obj:
        options = list_options(request)
        conditions = [_T.path != ""]
        if run_id := query_of(request, "run_id"):
            conditions.append(_T.run_id == run_id)
        columns = [_T.run_id, _T.body]
        page = await self.database.run(
            lambda c: list_rows(c, _TASKS, options, columns, *conditions)
        )
        return compact(
            tasks=[_task(row.run_id, row.body) for row in page.rows],
            total_size=page.total,
            next_page_token=page.next_token,
        )

    async def get_task(self, request: web.Request) -> Obj:
        own_id = request.match_info["task"]
        query = sa.select(_T.run_id, _T.body).where(_T.task_id == own_id)
        row = await self.database.run(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError.of("Task", own_id)
        return _task(row.run_id, row.body)

    async def content(self, request: web.Request) -> web.StreamResponse:
        """A file of an artifact; of a folder, the list of its files (``path`` chooses one)."""
        try:
            row = await self._row(request)
            path = await asyncio.to_thread(self._file_of, row.uri, query_of(request, "path"))
            if path.is_dir():
                return answer(await asyncio.to_thread(self._listing, path))
        except ApiFailure as error:
            message = {"code": error.code, "message": str(error), "details": []}
            return answer(message, error.http)
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        # Artifacts are what users' programs wrote: shown as text, never run in our pages' name.
        headers = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}
        return web.FileResponse(path, headers={**headers, "Content-Type": kind})

    def _file_of(self, uri: str, below: str) -> Path:
        path = local_path(uri)
        if path is None:
            raise InvalidArgumentError(f"{uri} is not kept here; read it where it is")
        found = (path / below).resolve() if below else path.resolve()
        settings = self.context.settings
        allowed = (self.context.artifacts.folder.resolve(), settings.workspace.resolve())
        if not any(found.is_relative_to(folder) for folder in allowed):
            raise InvalidArgumentError(f"{uri} is neither in the artifact store nor the workspace")
        if not found.exists():
            raise NotFoundError(f"the artifact's file {found} is gone or was never written")
        return found

    def _listing(self, folder: Path) -> Obj:
        try:
            files = self.context.artifacts.list(str(folder))
            shown = [
                {"path": str((local_path(f.uri) or folder).relative_to(folder)), "size": f.size}
                for f, _ in zip(files, range(_MAX_LISTED), strict=False)
            ]
        except ArtifactError as error:
            raise NotFoundError(str(error)) from None
        return {"files": shown}

    async def _row(self, request: web.Request) -> Any:
        own_id = request.match_info["artifact"]
        query = sa.select(ARTIFACTS).where(_A.artifact_id == _number(own_id))
        row = await self.database.run(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError.of("Artifact", own_id)
        return row


def _artifact(row: Any) -> Obj:
    metadata = row.metadata or {}
    return compact(
        artifact_id=str(row.artifact_id),
        name=row.name,
        type=row.type,
        uri=row.uri,
        digest=row.digest,
        metadata=metadata,
        namespace=row.namespace,
        created_at=wire_time(row.created_at),
    )


def _task(run_id: str, body: bytes) -> Obj:
    node = msgspec.json.decode(body, type=TaskNode)
    state = "CACHED" if node.cached_from else node.state
    return compact(
        task_id=task_id(run_id, node.path),
        run_id=run_id,
        path=node.path,
        name=node.name,
        display_name=node.display_name,
        type=node.kind.upper() or "PENDING",
        state=state,
        status_metadata=compact(message=node.message, cache=node.cache),
        attempt=node.attempt,
        iteration=None if node.iteration is None else {"index": node.iteration},
        pods=[{"name": node.pod}] if node.pod else None,
        cache_fingerprint=node.fingerprint,
        cached_from=node.cached_from,
        parent_task_id=task_id(run_id, node.parent),
        create_time=wire_time(node.created_at),
        start_time=wire_time(node.started_at),
        end_time=wire_time(node.finished_at),
        error={"code": node.error.code, "message": node.error.message} if node.error else None,
        inputs=_side(node.inputs),
        outputs=_side(node.outputs),
    )


def _side(side: Any) -> Obj:
    return compact(
        parameters=side.parameters,
        artifacts={
            name: [
                compact(
                    artifact_id=str(a.id), name=a.name, type=a.type, uri=a.uri, metadata=a.metadata
                )
                for a in found
            ]
            for name, found in side.artifacts.items()
        },
    )


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidArgumentError(f"artifact id: a number is expected, not {text!r}") from None
