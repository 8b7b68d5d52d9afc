"""Pipelines and their versions: uploading, listing, changing and deleting."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import msgspec
import sqlalchemy as sa
from aiohttp import web

from kubeling.kube.objects import Obj
from kubeling.pipelines.api.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from kubeling.pipelines.api.listing import Listable, list_rows
from kubeling.pipelines.api.paging import list_options
from kubeling.pipelines.api.service import Service
from kubeling.pipelines.api.wire import body_of, compact, query_of, wire_time
from kubeling.pipelines.packages import MAX_SIZE, Package, read_package, unwrap
from kubeling.pipelines.tables import PIPELINES, VERSIONS

__all__ = ["PipelineService"]

_MAX_NAME: Final = 128
_MAX_VERSION_NAME: Final = 127
_MAX_TAGS: Final = 20
_MAX_TAG: Final = 63
_P: Final = PIPELINES.c
_V: Final = VERSIONS.c


def _tag_of(table: sa.Table) -> Callable[[str], sa.ColumnElement[Any] | None]:
    def tag(key: str) -> sa.ColumnElement[Any] | None:
        return table.c.tags[key[5:]].as_string() if key.startswith("tags.") else None

    return tag


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
    extra_filters=_tag_of(PIPELINES),
)
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
    extra_filters=_tag_of(VERSIONS),
)


class PipelineService(Service):
    """Upstream's PipelineService and PipelineUploadService."""

    async def list(self, request: web.Request) -> Obj:
        options = list_options(request)
        conditions = []
        if namespace := query_of(request, "namespace"):
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
        return _pipeline(await self._row(request.match_info["pipeline"]))

    async def get_by_name(self, request: web.Request) -> Obj:
        name = request.match_info["name"]
        query = sa.select(PIPELINES).where(
            _P.name == name, _P.namespace == query_of(request, "namespace")
        )
        row = await self.database.run(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError.of("Pipeline", name)
        return _pipeline(row)

    async def create(self, request: web.Request) -> Obj:
        values = self._pipeline_values(await body_of(request, _PIPELINE_FIELDS))
        await self.database.run(lambda c: _insert_pipeline(c, values))
        return _pipeline(await self._row(values["pipeline_id"]))

    async def create_with_version(self, request: web.Request) -> Obj:
        body = await body_of(request, ("pipeline", "pipeline_version"))
        pipeline, version = body.get("pipeline") or {}, body.get("pipeline_version") or {}
        package, url = await self._package(version)
        if not pipeline.get("name") and not pipeline.get("display_name"):
            pipeline["display_name"] = package.spec.pipeline_info.name
        values = self._pipeline_values(pipeline)
        await self._insert_both(values, package, {"package_url": url})
        return _pipeline(await self._row(values["pipeline_id"]))

    async def upload(self, request: web.Request) -> Obj:
        data, filename = await _uploaded(request)
        package = await _read(data)
        values = self._pipeline_values(
            {
                "name": query_of(request, "name"),
                "display_name": query_of(request, "display_name")
                or query_of(request, "name")
                or _stem(filename)
                or package.spec.pipeline_info.name,
                "description": query_of(request, "description"),
                "namespace": query_of(request, "namespace"),
                "tags": _tags_in_query(request),
            }
        )
        url = query_of(request, "code_source_url")
        await self._insert_both(values, package, {"code_source_url": url})
        return _pipeline(await self._row(values["pipeline_id"]))

    async def update(self, request: web.Request) -> Obj:
        own_id = request.match_info["pipeline"]
        await self._row(own_id)
        changes = _changes(await body_of(request, _PIPELINE_FIELDS))
        if changes:
            query = sa.update(PIPELINES).where(_P.pipeline_id == own_id).values(**changes)
            await self.database.run(lambda c: c.execute(query))
        return _pipeline(await self._row(own_id))

    async def delete(self, request: web.Request) -> Obj:
        own_id = request.match_info["pipeline"]
        await self._row(own_id)
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

    # Versions.

    async def list_versions(self, request: web.Request) -> Obj:
        pipeline_id = request.match_info["pipeline"]
        await self._row(pipeline_id)
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

    async def get_version(self, request: web.Request) -> Obj:
        return _version(await self._version_row(request))

    async def create_version(self, request: web.Request) -> Obj:
        pipeline_id = request.match_info["pipeline"]
        await self._row(pipeline_id)
        body = await body_of(request, _VERSION_FIELDS)
        package, url = await self._package(body)
        details = {**body, "package_url": url}
        values = self._version_values(pipeline_id, package, details)
        await self.database.run(lambda c: _insert_version(c, values))
        return await self._version_of(pipeline_id, values["pipeline_version_id"])

    async def upload_version(self, request: web.Request) -> Obj:
        pipeline_id = query_of(request, "pipelineid")
        if not pipeline_id:
            raise InvalidArgumentError("pipelineid: Required value: the pipeline to add to")
        await self._row(pipeline_id)
        data, filename = await _uploaded(request)
        package = await _read(data)
        details: Obj = {
            "name": query_of(request, "name"),
            "display_name": query_of(request, "display_name")
            or query_of(request, "name")
            or _stem(filename),
            "description": query_of(request, "description"),
            "code_source_url": query_of(request, "code_source_url"),
            "tags": _tags_in_query(request),
        }
        values = self._version_values(pipeline_id, package, details)
        await self.database.run(lambda c: _insert_version(c, values))
        return await self._version_of(pipeline_id, values["pipeline_version_id"])

    async def update_version(self, request: web.Request) -> Obj:
        row = await self._version_row(request)
        changes = _changes(await body_of(request, _VERSION_FIELDS))
        if changes:
            query = sa.update(VERSIONS).where(_V.pipeline_version_id == row.pipeline_version_id)
            await self.database.run(lambda c: c.execute(query.values(**changes)))
        return await self._version_of(row.pipeline_id, row.pipeline_version_id)

    async def delete_version(self, request: web.Request) -> Obj:
        row = await self._version_row(request)
        query = sa.delete(VERSIONS).where(_V.pipeline_version_id == row.pipeline_version_id)
        await self.database.run(lambda c: c.execute(query))
        return {}

    # Parts.

    async def _row(self, pipeline_id: str) -> Any:
        query = sa.select(PIPELINES).where(_P.pipeline_id == pipeline_id)
        row = await self.database.run(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError.of("Pipeline", pipeline_id)
        return row

    async def _version_row(self, request: web.Request) -> Any:
        pipeline, version = request.match_info["pipeline"], request.match_info["version"]
        query = sa.select(VERSIONS).where(
            _V.pipeline_id == pipeline, _V.pipeline_version_id == version
        )
        row = await self.database.run(lambda c: c.execute(query).first())
        if row is None:
            raise NotFoundError.of("PipelineVersion", version)
        return row

    async def _version_of(self, pipeline_id: str, version_id: str) -> Obj:
        query = sa.select(VERSIONS).where(_V.pipeline_version_id == version_id)
        row = await self.database.run(lambda c: c.execute(query).one())
        return _version(row)

    async def _package(self, version: Obj) -> tuple[Package, str]:
        if document := version.get("pipeline_spec"):
            try:
                return unwrap(document), ""
            except ValueError as error:
                raise InvalidArgumentError(f"pipeline_spec: {error}") from None
        url = str((version.get("package_url") or {}).get("pipeline_url") or "")
        if not url.startswith(("http://", "https://")):
            raise InvalidArgumentError(
                "package_url.pipeline_url: Required value: the http(s) address of the pipeline"
            )
        return await _read(await _download(url)), url

    async def _insert_both(self, pipeline: Obj, package: Package, details: Obj) -> None:
        details = {
            **details,
            "name": pipeline["name"][:_MAX_VERSION_NAME],
            "display_name": pipeline["display_name"],
            "description": pipeline["description"],
        }
        version = self._version_values(pipeline["pipeline_id"], package, details)

        def work(connection: sa.Connection) -> None:
            _insert_pipeline(connection, pipeline)
            _insert_version(connection, version)

        await self.database.run(work)

    def _pipeline_values(self, body: Obj) -> Obj:
        shown = body.get("display_name") or body.get("name") or ""
        name = body.get("name") or shown
        _check_name("name", name, _MAX_NAME)
        return {
            "pipeline_id": str(uuid.uuid4()),
            "namespace": body.get("namespace") or "",
            "name": name,
            "display_name": shown,
            "description": body.get("description") or "",
            "tags": _checked_tags(body.get("tags")),
            "created_at": self.now(),
        }

    def _version_values(self, pipeline_id: str, package: Package, details: Obj) -> Obj:
        shown = details.get("display_name") or details.get("name") or ""
        name = details.get("name") or shown
        _check_name("name", name, _MAX_VERSION_NAME)
        return {
            "pipeline_version_id": str(uuid.uuid4()),
            "pipeline_id": pipeline_id,
            "name": name,
            "display_name": shown,
            "description": details.get("description") or "",
            "code_source_url": details.get("code_source_url") or "",
            "package_url": details.get("package_url") or "",
            "tags": _checked_tags(details.get("tags")),
            "pipeline_spec": package.wrapped,
            "created_at": self.now(),
        }


_PIPELINE_FIELDS: Final = (
    "pipeline_id", "name", "display_name", "description", "created_at", "namespace", "error",
    "tags",
)  # fmt: skip
_VERSION_FIELDS: Final = (
    "pipeline_id", "pipeline_version_id", "name", "display_name", "description", "created_at",
    "package_url", "code_source_url", "pipeline_spec", "error", "tags",
)  # fmt: skip


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


def _insert_pipeline(connection: sa.Connection, values: Obj) -> None:
    query = sa.select(_P.pipeline_id).where(
        _P.name == values["name"], _P.namespace == values["namespace"]
    )
    if connection.execute(query).first():
        raise AlreadyExistsError(
            f'a pipeline named "{values["name"]}" exists; choose another name, or upload a version'
        )
    connection.execute(sa.insert(PIPELINES).values(**values))


def _insert_version(connection: sa.Connection, values: Obj) -> None:
    query = sa.select(_V.pipeline_version_id).where(
        _V.pipeline_id == values["pipeline_id"], _V.name == values["name"]
    )
    if connection.execute(query).first():
        raise AlreadyExistsError(
            f'the pipeline has a version named "{values["name"]}"; choose another name'
        )
    connection.execute(sa.insert(VERSIONS).values(**values))


def _changes(body: Obj) -> Obj:
    changes: Obj = {}
    if shown := body.get("display_name"):
        changes["display_name"] = shown
    if "tags" in body:
        changes["tags"] = _checked_tags(body["tags"])
    return changes


def _check_name(field: str, name: str, limit: int) -> None:
    if not name:
        raise InvalidArgumentError(f"{field}: Required value")
    if len(name) > limit:
        raise InvalidArgumentError(f"{field}: Too long: at most {limit} characters are allowed")


def _checked_tags(tags: Any) -> dict[str, str]:
    if not tags:
        return {}
    if not isinstance(tags, dict) or not all(isinstance(v, str) for v in tags.values()):
        raise InvalidArgumentError("tags: a mapping of text to text is expected")
    if len(tags) > _MAX_TAGS:
        raise InvalidArgumentError(f"tags: Too many: at most {_MAX_TAGS} are allowed")
    for key, value in tags.items():
        if not key or len(key) > _MAX_TAG or len(value) > _MAX_TAG or "." in key:
            raise InvalidArgumentError(
                f'tags: Invalid value: "{key}": keys and values have at most {_MAX_TAG} characters '
                "and keys no dots"
            )
    return tags


def _tags_in_query(request: web.Request) -> Any:
    text = query_of(request, "tags")
    if not text:
        return {}
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidArgumentError(f"tags: not valid JSON: {error}") from None


def _stem(filename: str) -> str:
    for suffix in (".tar.gz", ".tgz", ".zip", ".yaml", ".yml", ".json"):
        if filename.endswith(suffix):
            return filename.removesuffix(suffix)
    return filename


async def _uploaded(request: web.Request) -> tuple[bytes, str]:
    if not request.content_type.startswith("multipart/"):
        raise InvalidArgumentError("multipart/form-data with a field uploadfile is expected")
    async for part in await request.multipart():
        if isinstance(part, aiohttp.BodyPartReader) and part.name == "uploadfile":
            data = bytearray()
            while chunk := await part.read_chunk(1 << 16):
                data += chunk
                if len(data) > MAX_SIZE:
                    raise InvalidArgumentError(f"the file is larger than {MAX_SIZE >> 20} MiB")
            return bytes(data), part.filename or ""
    raise InvalidArgumentError("the form has no field uploadfile")


async def _download(url: str) -> bytes:
    try:
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            response.raise_for_status()
            data = await response.content.read(MAX_SIZE + 1)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise InvalidArgumentError(f"package_url.pipeline_url: {url}: {error}") from None
    return data


async def _read(data: bytes) -> Package:
    try:
        return await asyncio.to_thread(read_package, data)
    except ValueError as error:
        raise InvalidArgumentError(f"invalid pipeline: {error}") from None
