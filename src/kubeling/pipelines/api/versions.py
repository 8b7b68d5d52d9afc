"""Versions of pipelines: each a compiled package that never changes.

As upstream, a version is found by its own id alone; the pipeline's id in the path is not compared.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Final

import sqlalchemy as sa
from aiohttp import web

from kubeling.kube.objects import Obj
from kubeling.pipelines.api.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
)
from kubeling.pipelines.api.limits import check_name, checked_changes, checked_tags
from kubeling.pipelines.api.listing import Listable, list_rows
from kubeling.pipelines.api.messages import VERSION
from kubeling.pipelines.api.paging import list_options
from kubeling.pipelines.api.service import Service
from kubeling.pipelines.api.uploads import package_of, stem, tags_in_query, uploaded
from kubeling.pipelines.api.wire import body_of, compact, query_of, wire_time
from kubeling.pipelines.packages import Package
from kubeling.pipelines.tables import PIPELINES, VERSIONS

__all__ = ["VersionService", "insert_version", "new_version"]

_MAX_NAME: Final = 127
_P: Final = PIPELINES.c
_V: Final = VERSIONS.c


def _tag(key: str) -> sa.ColumnElement[Any] | None:
    return _V.tags[key[5:]].as_string() if key.startswith("tags.") else None


_VERSIONS: Final = Listable(
    VERSIONS,
    _V.pipeline_version_id,
    {
        "pipeline_version_id": _V.pipeline_version_id,
        "id": _V.pipeline_version_id,
        "name": _V.name,
        "display_name": _V.display_name,
        "created_at": _V.created_at,
        "description": _V.description,
        "pipeline_spec": sa.cast(_V.pipeline_spec, sa.Text),
    },
    _V.created_at,
    extra_filters=_tag,
)


class VersionService(Service):
    """The part of upstream's PipelineService that is about versions."""

    resource = "pipelines"

    async def list(self, request: web.Request) -> Obj:
        pipeline_id = await self._pipeline(request, "list", request.match_info["pipeline"])
        options = list_options(request)
        page = await self.database.run(
            lambda c: list_rows(
                c, _VERSIONS, options, list(VERSIONS.c), _V.pipeline_id == pipeline_id
            )
        )
        return compact(
            pipeline_versions=[_version(row) for row in page.rows],
            total_size=page.total,
            next_page_token=page.next_token,
        )

    async def get(self, request: web.Request) -> Obj:
        return _version(await self._allowed(request, "get"))

    async def create(self, request: web.Request) -> Obj:
        body = await body_of(request, VERSION)
        pipeline_id = await self._pipeline(request, "create", request.match_info["pipeline"])
        package, url = await package_of(body)
        return await self._insert(pipeline_id, package, {**body, "package_url": url})

    async def upload(self, request: web.Request) -> Obj:
        pipeline_id = query_of(request, "pipelineid")
        if not pipeline_id:
            raise InvalidArgumentError("pipelineid: Required value: the pipeline to add to")
        await self._pipeline(request, "create", pipeline_id)
        package, filename = await uploaded(request)
        name = query_of(request, "name")
        details: Obj = {
            "name": name,
            "display_name": query_of(request, "display_name") or name or stem(filename),
            "description": query_of(request, "description"),
            "code_source_url": query_of(request, "code_source_url"),
            "tags": tags_in_query(request),
        }
        return await self._insert(pipeline_id, package, details)

    async def update(self, request: web.Request) -> Obj:
        row = await self._allowed(request, "update")
        body = await body_of(request, VERSION)
        if changes := checked_changes(body):
            query = sa.update(VERSIONS).where(_V.pipeline_version_id == row.pipeline_version_id)
            await self.database.run(lambda c: c.execute(query.values(**changes)))
        return _version(await self._row(row.pipeline_version_id))

    async def delete(self, request: web.Request) -> Obj:
        row = await self._allowed(request, "delete")
        query = sa.delete(VERSIONS).where(_V.pipeline_version_id == row.pipeline_version_id)
        await self.database.run(lambda c: c.execute(query))
        return {}

    async def _insert(self, pipeline_id: str, package: Package, details: Obj) -> Obj:
        values = new_version(pipeline_id, package, details, self.now())
        await self.database.run(lambda c: insert_version(c, values))
        return _version(await self._row(values["pipeline_version_id"]))

    async def _pipeline(self, request: web.Request, verb: str, pipeline_id: str) -> str:
        """Returns the pipeline's id if there is such a pipeline and this may be done to it."""
        query = sa.select(_P.namespace, _P.name).where(_P.pipeline_id == pipeline_id)
        row = await self.database.run(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError.of("Pipeline", pipeline_id)
        await self.allow_pipeline(request, verb, row.namespace, row.name)
        return pipeline_id

    async def _allowed(self, request: web.Request, verb: str) -> Any:
        row = await self._row(request.match_info["version"])
        await self._pipeline(request, verb, row.pipeline_id)
        return row

    async def _row(self, version_id: str) -> Any:
        query = sa.select(VERSIONS).where(_V.pipeline_version_id == version_id)
        row = await self.database.run(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError.of("PipelineVersion", version_id)
        return row


def new_version(pipeline_id: str, package: Package, details: Obj, now: dt.datetime) -> Obj:
    """The row of a new version; raises :class:`InvalidArgumentError`."""
    shown = details.get("display_name") or details.get("name") or ""
    name = details.get("name") or shown
    check_name("name", name, _MAX_NAME)
    return {
        "pipeline_version_id": str(uuid.uuid4()),
        "pipeline_id": pipeline_id,
        "name": name,
        "display_name": shown,
        "description": details.get("description") or "",
        "code_source_url": details.get("code_source_url") or "",
        "package_url": details.get("package_url") or "",
        "tags": checked_tags(details.get("tags")),
        "pipeline_spec": package.wrapped,
        "created_at": now,
    }


def insert_version(connection: sa.Connection, values: Obj) -> None:
    """Adds a version, unless the pipeline has one of its name."""
    query = sa.select(_V.pipeline_version_id).where(
        _V.pipeline_id == values["pipeline_id"], _V.name == values["name"]
    )
    if connection.execute(query).first():
        raise AlreadyExistsError(
            f'the pipeline has a version named "{values["name"]}"; choose another name'
        )
    connection.execute(sa.insert(VERSIONS).values(**values))


def _version(row: Any) -> Obj:
    return compact(
        pipeline_id=row.pipeline_id,
        pipeline_version_id=row.pipeline_version_id,
        name=row.name,
        display_name=row.display_name,
        description=row.description,
        created_at=wire_time(row.created_at),
        package_url={"pipeline_url": row.package_url} if row.package_url else None,
        code_source_url=row.code_source_url,
        pipeline_spec=row.pipeline_spec,
        tags=row.tags,
    )
