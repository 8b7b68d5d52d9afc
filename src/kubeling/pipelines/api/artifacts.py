"""Artifacts, and which task made or used which, as upstream plans their API (KEP-12147).

Beyond the plan: the content of an artifact, its preview, and ``run_id`` as a restriction of lists.
Rights are those on the run: reading needs ``get``, content ``readArtifact``, writing ``update``.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from aiohttp import web

from kubeling.kube.objects import Obj
from kubeling.pipelines.api.contents import Contents
from kubeling.pipelines.api.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from kubeling.pipelines.api.listing import Listable, list_rows
from kubeling.pipelines.api.messages import ARTIFACT_REQUEST, ARTIFACT_TASK_REQUEST
from kubeling.pipelines.api.paging import list_options
from kubeling.pipelines.api.service import Service
from kubeling.pipelines.api.task_messages import ARTIFACT_TYPES, artifact_message
from kubeling.pipelines.api.wire import body_of, compact, query_of
from kubeling.pipelines.lineage import link_id
from kubeling.pipelines.previews import metadata_preview
from kubeling.pipelines.store import upsert
from kubeling.pipelines.tables import ARTIFACT_TASKS, ARTIFACTS, METRICS, RUNS, TASKS

__all__ = ["ARTIFACT_LISTS", "ArtifactService"]

Conditions = list[sa.ColumnElement[bool]]

_A: Final = ARTIFACTS.c
_L: Final = ARTIFACT_TASKS.c
_TITLES: Final = {kind: title for title, kind in ARTIFACT_TYPES.items()}
_DIRECTIONS: Final = ("INPUT", "OUTPUT")
_PIECE: Final = 1 << 18
ARTIFACT_LISTS: Final = Listable(
    ARTIFACTS,
    _A.artifact_id,
    {
        "artifact_id": _A.artifact_id,
        "id": _A.artifact_id,
        "name": _A.name,
        "type": _A.type,
        "uri": _A.uri,
        "namespace": _A.namespace,
        "description": _A.description,
        "created_at": _A.created_at,
    },
    _A.created_at,
    spellings={"type": _TITLES},
)
_LINKS: Final = Listable(
    ARTIFACT_TASKS,
    _L.artifact_task_id,
    {
        "id": _L.artifact_task_id,
        "artifact_id": _L.artifact_id,
        "task_id": _L.task_id,
        "run_id": _L.run_id,
        "type": _L.direction,
        "artifact_key": _L.key,
    },
    _L.artifact_task_id,
)


class ArtifactService(Service):
    """The planned ArtifactService."""

    resource = "runs"

    async def list(self, request: web.Request) -> Obj:
        options = list_options(request)
        namespace, run_id = query_of(request, "namespace"), query_of(request, "run_id")
        conditions: Conditions = []
        if run_id:
            namespace = (await self._run(request, "get", run_id)).namespace
            made = sa.select(_L.artifact_id).where(_L.run_id == run_id, _L.direction == "OUTPUT")
            conditions.append(_A.artifact_id.in_(made))
        elif namespace:
            conditions.append(_A.namespace == namespace)
        await self.allow(request, "list", self.need_namespace(namespace))
        page = await self.database.run(
            lambda c: list_rows(c, ARTIFACT_LISTS, options, list(ARTIFACTS.c), *conditions)
        )
        return compact(
            artifacts=[artifact_message(row) for row in page.rows],
            total_size=page.total,
            next_page_token=page.next_token,
        )

    async def get(self, request: web.Request) -> Obj:
        return artifact_message(await self._allowed(request, "get"))

    async def create(self, request: web.Request) -> Obj:
        """A new artifact, made or used by a task of a run."""
        body = await body_of(request, ARTIFACT_REQUEST)
        artifact = body.get("artifact") or {}
        for field in ("name", "type"):
            if not artifact.get(field):
                raise InvalidArgumentError(f"artifact.{field}: Required value")
        if artifact["type"] not in _TITLES:
            known = ", ".join(sorted(_TITLES))
            raise InvalidArgumentError(f"artifact.type: Unsupported value ({known})")
        run = await self._run(request, "update", body.get("run_id") or "")
        values = {
            "artifact_id": secrets.randbits(63),
            "namespace": run.namespace,
            "name": artifact["name"][:255],
            "type": _TITLES[artifact["type"]],
            "uri": artifact.get("uri") or "",
            "digest": "",
            "metadata": artifact.get("metadata") or {},
            "created_at": self.now(),
            "description": artifact.get("description"),
            "number_value": artifact.get("number_value"),
        }
        link = {**body, "artifact_id": values["artifact_id"], "artifact_key": artifact["name"]}

        def work(connection: sa.Connection) -> Any:
            connection.execute(sa.insert(ARTIFACTS).values(**values))
            if body.get("task_id"):
                _link(connection, {"type": "OUTPUT", **link})
            if values["number_value"] is not None:
                upsert(connection, METRICS, [_metric(body, values)])
            query = sa.select(ARTIFACTS).where(_A.artifact_id == values["artifact_id"])
            return connection.execute(query).one()

        return artifact_message(await self.database.run(work))

    async def list_artifact_tasks(self, request: web.Request) -> Obj:
        options = list_options(request)
        await self._allow_links(request)
        conditions: Conditions = []
        for name, column in (("run_ids", _L.run_id), ("task_ids", _L.task_id)):
            if wanted := request.query.getall(name, []):
                conditions.append(column.in_(wanted))
        if artifacts := request.query.getall("artifact_ids", []):
            conditions.append(_L.artifact_id.in_([_number(text) for text in artifacts]))
        if direction := query_of(request, "type"):
            conditions.append(_L.direction == _direction(direction))

        def work(connection: sa.Connection) -> tuple[Any, dict[int, tuple[str, str]]]:
            page = list_rows(connection, _LINKS, options, list(ARTIFACT_TASKS.c), *conditions)
            return page, _producers(connection, [row.artifact_id for row in page.rows])

        page, producers = await self.database.run(work)
        return compact(
            artifact_tasks=[
                _link_message(row, producers.get(row.artifact_id)) for row in page.rows
            ],
            total_size=page.total,
            next_page_token=page.next_token,
        )

    async def create_artifact_task(self, request: web.Request) -> Obj:
        """Notes that a task made or used an artifact; noting it twice changes nothing."""
        body = await body_of(request, ARTIFACT_TASK_REQUEST)
        link = body.get("artifact_task") or {}
        for field in ("artifact_id", "run_id", "task_id"):
            if not link.get(field):
                raise InvalidArgumentError(f"artifact_task.{field}: Required value")
        run = await self._run(request, "update", link["run_id"])
        artifact = await self._row(link["artifact_id"])
        if artifact.namespace != run.namespace:
            raise FailedPreconditionError(
                f"artifact {artifact.artifact_id} is in the namespace {artifact.namespace}, "
                f"the run in {run.namespace}"
            )
        link = {"artifact_key": artifact.name, **link, "artifact_id": artifact.artifact_id}

        def work(connection: sa.Connection) -> Obj:
            own_id = _link(connection, link)
            query = sa.select(ARTIFACT_TASKS).where(_L.artifact_task_id == own_id)
            row = connection.execute(query).one()
            return _link_message(
                row, _producers(connection, [row.artifact_id]).get(row.artifact_id)
            )

        return await self.database.run(work)

    async def content(self, request: web.Request) -> web.StreamResponse:
        """A file of an artifact; of a folder, the list of its files (``path`` chooses one)."""
        row = await self._allowed(request, "readArtifact")
        contents = Contents(self.context)
        below = query_of(request, "path")
        return await contents.answer(
            request, row.uri, below, namespace=row.namespace, folder=self._folder(row)
        )

    async def preview(self, request: web.Request) -> Obj:
        """What a page needs to draw an artifact, or one file of it (``path``)."""
        row = await self._allowed(request, "readArtifact")
        below = query_of(request, "path")
        found = None if below else metadata_preview(row.type, row.metadata or {})
        if found is None:
            contents = Contents(self.context)
            found = await contents.preview(
                row.uri, row.type, below, namespace=row.namespace, folder=self._folder(row)
            )
        return {"artifact": artifact_message(row), "preview": found}

    def _folder(self, row: Any) -> Path | None:
        """What an artifact must lie in, if there are many users.

        A task may name any address, also one of another namespace.
        """
        if not self.access.multi_user:
            return None
        return self.context.artifacts.folder / "pipelines" / str(row.namespace)

    async def upload(self, request: web.Request) -> Obj:
        """Stores the request's body as the content of an artifact that has none."""
        row = await self._allowed(request, "update")
        store = self.context.artifacts
        uri = row.uri or _place(store.root, row)
        if row.digest or await asyncio.to_thread(store.exists, uri):
            raise FailedPreconditionError(
                f"artifact {row.artifact_id} has its content; what is stored is never changed"
            )
        with tempfile.TemporaryFile(dir=self.context.settings.data_dir) as file:
            async for piece in request.content.iter_chunked(_PIECE):
                await asyncio.to_thread(file.write, piece)
            await asyncio.to_thread(file.seek, 0)
            await asyncio.to_thread(store.put, uri, file)
        digest = await asyncio.to_thread(store.digest, uri)
        query = sa.update(ARTIFACTS).where(_A.artifact_id == row.artifact_id)
        await self.database.run(lambda c: c.execute(query.values(uri=uri, digest=digest)))
        return artifact_message(await self._row(str(row.artifact_id)))

    async def _allow_links(self, request: web.Request) -> None:
        """Many users see links of runs that they name only."""
        runs = request.query.getall("run_ids", [])
        if self.access.multi_user and not runs:
            raise InvalidArgumentError("run_ids: Required value: the runs whose links to list")
        if self.access.multi_user:
            for run_id in runs:
                await self._run(request, "get", run_id)

    async def _run(self, request: web.Request, verb: str, run_id: str) -> Any:
        if not run_id:
            raise InvalidArgumentError("run_id: Required value: artifacts belong to a run")
        query = sa.select(RUNS.c.namespace, RUNS.c.name).where(RUNS.c.run_id == run_id)
        run = await self.database.run(lambda c: c.execute(query).first())
        if run is None:
            raise NotFoundError.of("Run", run_id)
        await self.allow(request, verb, run.namespace, run.name)
        return run

    async def _allowed(self, request: web.Request, verb: str) -> Any:
        row = await self._row(request.match_info["artifact"])
        await self.allow(request, verb, row.namespace)
        return row

    async def _row(self, own_id: str) -> Any:
        query = sa.select(ARTIFACTS).where(_A.artifact_id == _number(own_id))
        row = await self.database.run(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError.of("Artifact", own_id)
        return row


def _place(root: str, row: Any) -> str:
    """Where what is uploaded is kept if the artifact does not say."""
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in row.name).strip(".")
    return f"{root}/pipelines/{row.namespace}/uploads/{row.artifact_id}/{name or 'content'}"


def _link(connection: sa.Connection, link: Obj) -> str:
    """Files a link and returns its id."""
    direction = _direction(link.get("type") or "INPUT")
    key = str(link.get("artifact_key") or "")[:255]
    task = connection.execute(
        sa.select(TASKS.c.run_id).where(TASKS.c.task_id == link["task_id"])
    ).scalar()
    if task != link["run_id"]:
        raise NotFoundError(f"run {link['run_id']} has no task {link['task_id']}")
    own_id = link_id(link["artifact_id"], link["task_id"], direction, key)
    row = {
        "artifact_id": link["artifact_id"],
        "task_id": link["task_id"],
        "direction": direction,
        "key": key,
        "run_id": link["run_id"],
        "artifact_task_id": own_id,
    }
    upsert(connection, ARTIFACT_TASKS, [row], keep=True)
    return own_id


def _producers(connection: sa.Connection, artifacts: Sequence[int]) -> dict[int, tuple[str, str]]:
    """By artifact: the name of the task that made it, and the key there."""
    query = (
        sa.select(_L.artifact_id, _L.key, TASKS.c.name)
        .join(TASKS, TASKS.c.task_id == _L.task_id)
        .where(_L.artifact_id.in_(sorted(set(artifacts))), _L.direction == "OUTPUT")
        .order_by(TASKS.c.created_at.desc())
    )
    return {row.artifact_id: (row.name, row.key) for row in connection.execute(query)}


def _link_message(row: Any, producer: tuple[str, str] | None) -> Obj:
    name, key = producer or ("", "")
    return compact(
        id=row.artifact_task_id,
        artifact_id=str(row.artifact_id),
        run_id=row.run_id,
        task_id=row.task_id,
        type=row.direction,
        producer_task_name=name,
        producer_key=key,
        artifact_key=row.key,
    )


def _metric(body: Obj, artifact: Obj) -> Obj:
    return {
        "run_id": body["run_id"],
        "task_id": body.get("task_id") or "",
        "artifact_id": artifact["artifact_id"],
        "name": artifact["name"],
        "value": artifact["number_value"],
    }


def _direction(text: str) -> str:
    found = text.upper()
    if found not in _DIRECTIONS:
        raise InvalidArgumentError(f"type: Unsupported value: {text!r} (INPUT, OUTPUT)")
    return found


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < 2**63):
        raise InvalidArgumentError(f"artifact id: a 64-bit number is expected, not {text!r:.100}")
    return int(text)
