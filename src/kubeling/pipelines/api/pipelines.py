"""Pipelines: names under which versions are uploaded."""

from __future__ import annotations

import uuid
from typing import Any, Final

import sqlalchemy as sa
from aiohttp import web

from kubeling.kube.objects import Obj
from kubeling.pipelines.api.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    NotFoundError,
)
from kubeling.pipelines.api.limits import (
    MAX_NAMESPACE,
    check_length,
    check_name,
    checked_changes,
    checked_tags,
)
from kubeling.pipelines.api.listing import Listable, list_rows
from kubeling.pipelines.api.messages import NEW_PIPELINE, PIPELINE
from kubeling.pipelines.api.paging import list_options
from kubeling.pipelines.api.service import Service
from kubeling.pipelines.api.uploads import package_of, stem, tags_in_query, uploaded
from kubeling.pipelines.api.versions import insert_version, new_version
from kubeling.pipelines.api.wire import body_of, compact, query_of, wire_time
from kubeling.pipelines.packages import Package
from kubeling.pipelines.tables import PIPELINES, VERSIONS

__all__ = ["PipelineService"]

_MAX_NAME: Final = 128
_MAX_VERSION_NAME: Final = 127
_P: Final = PIPELINES.c
_V: Final = VERSIONS.c


def _tag(key: str) -> sa.ColumnElement[Any] | None:
    return _P.tags[key[5:]].as_string() if key.startswith("tags.") else None


_PIPELINES: Final = Listable(
    PIPELINES,
    _P.pipeline_id,
    {
        "pipeline_id": _P.pipeline_id,
        "id": _P.pipeline_id,
        "name": _P.name,
        "display_name": _P.display_name,
        "created_at": _P.created_at,
        "description": _P.description,
        "namespace": _P.namespace,
    },
    _P.created_at,
    extra_filters=_tag,
)


class PipelineService(Service):
    """Upstream's PipelineService and PipelineUploadService, without versions."""

    resource = "pipelines"

    async def list(self, request: web.Request) -> Obj:
        options = list_options(request)
        namespace = query_of(request, "namespace")
        await self.allow_pipeline(request, "list", namespace)
        conditions = []
        if namespace or self.access.multi_user:
            conditions.append(_P.namespace == namespace)
        page = await self.database.run(
            lambda c: list_rows(c, _PIPELINES, options, list(PIPELINES.c), *conditions)
        )
        return compact(
            pipelines=[_pipeline(row) for row in page.rows],
            total_size=page.total,
            next_page_token=page.next_token,
        )

    async def get(self, request: web.Request) -> Obj:
        return _pipeline(await self._allowed(request, "get"))

    async def get_by_name(self, request: web.Request) -> Obj:
        name, namespace = request.match_info["name"], query_of(request, "namespace")
        await self.allow_pipeline(request, "get", namespace, name)
        query = sa.select(PIPELINES).where(_P.name == name, _P.namespace == namespace)
        row = await self.database.run(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError.of("Pipeline", name)
        return _pipeline(row)

    async def create(self, request: web.Request) -> Obj:
        values = self._values(await body_of(request, PIPELINE))
        await self.allow_pipeline(request, "create", values["namespace"], values["name"])
        await self.database.run(lambda c: _insert(c, values))
        return _pipeline(await self._row(values["pipeline_id"]))

    async def create_with_version(self, request: web.Request) -> Obj:
        body = await body_of(request, NEW_PIPELINE)
        pipeline, version = body.get("pipeline") or {}, body.get("pipeline_version") or {}
        await self.allow_pipeline(request, "create", pipeline.get("namespace") or "")
        package, url = await package_of(version)
        if not pipeline.get("name") and not pipeline.get("display_name"):
            pipeline["display_name"] = package.spec.pipeline_info.name
        return await self._insert_both(pipeline, package, {**version, "package_url": url})

    async def upload(self, request: web.Request) -> Obj:
        namespace, name = query_of(request, "namespace"), query_of(request, "name")
        await self.allow_pipeline(request, "create", namespace, name)
        package, filename = await uploaded(request)
        shown = query_of(request, "display_name") or name or stem(filename)
        pipeline = {
            "name": name,
            "display_name": shown or package.spec.pipeline_info.name,
            "description": query_of(request, "description"),
            "namespace": namespace,
            "tags": tags_in_query(request),
        }
        version = {"code_source_url": query_of(request, "code_source_url")}
        return await self._insert_both(pipeline, package, version)

    async def update(self, request: web.Request) -> Obj:
        row = await self._allowed(request, "update")
        body = await body_of(request, PIPELINE)
        if changes := checked_changes(body):
            query = sa.update(PIPELINES).where(_P.pipeline_id == row.pipeline_id)
            await self.database.run(lambda c: c.execute(query.values(**changes)))
        return _pipeline(await self._row(row.pipeline_id))

    async def delete(self, request: web.Request) -> Obj:
        own_id = (await self._allowed(request, "delete")).pipeline_id
        cascade = query_of(request, "cascade").lower() == "true"

        def work(connection: sa.Connection) -> None:
            count = connection.execute(
                sa.select(sa.func.count()).where(_V.pipeline_id == own_id)
            ).scalar_one()
            if count and not cascade:
                raise FailedPreconditionError(
                    f"pipeline {own_id} has {count} versions: delete them first, or all together "
                    "with cascade=true"
                )
            connection.execute(sa.delete(VERSIONS).where(_V.pipeline_id == own_id))
            connection.execute(sa.delete(PIPELINES).where(_P.pipeline_id == own_id))

        await self.database.run(work)
        return {}

    async def _allowed(self, request: web.Request, verb: str) -> Any:
        row = await self._row(request.match_info["pipeline"])
        await self.allow_pipeline(request, verb, row.namespace, row.name)
        return row

    async def _row(self, pipeline_id: str) -> Any:
        query = sa.select(PIPELINES).where(_P.pipeline_id == pipeline_id)
        row = await self.database.run(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError.of("Pipeline", pipeline_id)
        return row

    async def _insert_both(self, body: Obj, package: Package, version: Obj) -> Obj:
        """A pipeline and its first version, which is named like it unless it has a name."""
        pipeline = self._values(body)
        details = {
            **version,
            "name": version.get("name")
            or version.get("display_name")
            or pipeline["name"][:_MAX_VERSION_NAME],
            "display_name": version.get("display_name")
            or version.get("name")
            or pipeline["display_name"],
            "description": version.get("description") or pipeline["description"],
        }
        first = new_version(pipeline["pipeline_id"], package, details, self.now())

        def work(connection: sa.Connection) -> None:
            _insert(connection, pipeline)
            insert_version(connection, first)

        await self.database.run(work)
        return _pipeline(await self._row(pipeline["pipeline_id"]))

    def _values(self, body: Obj) -> Obj:
        shown = body.get("display_name") or body.get("name") or ""
        name, namespace = body.get("name") or shown, body.get("namespace") or ""
        check_name("name", name, _MAX_NAME)
        check_length("namespace", namespace, MAX_NAMESPACE)
        return {
            "pipeline_id": str(uuid.uuid4()),
            "namespace": namespace,
            "name": name,
            "display_name": shown,
            "description": body.get("description") or "",
            "tags": checked_tags(body.get("tags")),
            "created_at": self.now(),
        }


def _pipeline(row: Any) -> Obj:
    return compact(
        pipeline_id=row.pipeline_id,
        name=row.name,
        display_name=row.display_name,
        description=row.description,
        created_at=wire_time(row.created_at),
        namespace=row.namespace,
        tags=row.tags,
    )


def _insert(connection: sa.Connection, values: Obj) -> None:
    query = sa.select(_P.pipeline_id).where(
        _P.name == values["name"], _P.namespace == values["namespace"]
    )
    if connection.execute(query).first():
        raise AlreadyExistsError(
            f'a pipeline named "{values["name"]}" exists; choose another name, or upload a version'
        )
    connection.execute(sa.insert(PIPELINES).values(**values))
