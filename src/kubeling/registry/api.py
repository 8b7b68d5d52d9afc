"""The REST face: ``/api/model_registry/v1alpha3``, as upstream's OpenAPI has it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from aiohttp import web

from kubeling.component import Context
from kubeling.registry.entities import ENTITIES, Entity
from kubeling.registry.errors import BadRequest, RegistryError
from kubeling.registry.filters import parse_filter
from kubeling.registry.queries import Page, Parent

if TYPE_CHECKING:
    import sqlalchemy as sa

    from kubeling.registry.store import RegistryStore

__all__ = ["PREFIX", "routes"]

PREFIX = "/api/model_registry/v1alpha3"
_PREFIXES = (PREFIX, "/api/model_registry/v1")
"""The paths of the client's releases up to 0.3.9, and of those after it."""

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RegistryApi:
    """The handlers, over one metadata database."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self, prefix: str) -> list[web.AbstractRouteDef]:
        """All paths; an artifact's kind is a path of its own as well."""
        found: list[web.AbstractRouteDef] = []
        for entity in ENTITIES.values():
            if entity.singular != "serve_model":
                found += self._collection(prefix, entity, entity.singular, entity.plural)
        found += self._collection(
            prefix, ENTITIES["artifact"], "model_artifact", "model_artifacts", "model-artifact"
        )
        for parent, path, child in (
            ("registered_model", "versions", "model_version"),
            ("model_version", "artifacts", "artifact"),
            ("serving_environment", "inference_services", "inference_service"),
            ("inference_service", "serves", "serve_model"),
            ("experiment", "experiment_runs", "experiment_run"),
            ("experiment_run", "artifacts", "artifact"),
        ):
            base = f"{prefix}/{ENTITIES[parent].plural}/{{id}}/{path}"
            found.append(web.get(base, self._list(ENTITIES[child], parent)))
            found.append(web.post(base, self._create(ENTITIES[child], parent)))
        run = f"{prefix}/experiment_runs/{{id}}/metric_history"
        service = f"{prefix}/inference_services/{{id}}"
        return [
            *found,
            web.get(run, _guarded(self._metric_history)),
            web.get(f"{service}/model", self._related("registered_model", "registeredModelId")),
            web.get(f"{service}/version", self._related("model_version", "modelVersionId")),
        ]

    def _collection(
        self, prefix: str, entity: Entity, singular: str, plural: str, artifact_type: str = ""
    ) -> list[web.AbstractRouteDef]:
        one = f"{prefix}/{plural}/{{id}}"
        return [
            web.get(f"{prefix}/{singular}", self._find(entity, artifact_type)),
            web.get(f"{prefix}/{plural}", self._list(entity, "", artifact_type)),
            web.post(f"{prefix}/{plural}", self._create(entity, "", artifact_type)),
            web.get(one, self._get(entity, artifact_type)),
            web.patch(one, self._update(entity)),
        ]

    def _find(self, entity: Entity, artifact_type: str) -> Handler:
        async def find(request: web.Request) -> web.Response:
            query = request.query

            def work(store: RegistryStore) -> dict[str, Any]:
                return store.find(
                    entity,
                    query.get("name", ""),
                    query.get("externalId", ""),
                    query.get("parentResourceId", ""),
                    artifact_type,
                )

            return _answer(await self._run(work))

        return _guarded(find)

    def _get(self, entity: Entity, artifact_type: str) -> Handler:
        async def get(request: web.Request) -> web.Response:
            key = request.match_info["id"]
            return _answer(await self._run(lambda store: store.get(entity, key, artifact_type)))

        return _guarded(get)

    def _list(self, entity: Entity, parent: str = "", artifact_type: str = "") -> Handler:
        async def list_(request: web.Request) -> web.Response:
            page, query = _page(request), request.query
            wanted = artifact_type or query.get("artifactType", "")
            wanted_by = query.get("filterQuery", "").strip()
            predicate = parse_filter(wanted_by) if wanted_by else None

            def work(store: RegistryStore) -> tuple[list[dict[str, Any]], bool]:
                owner = self._owner(store, parent, request)
                return store.page(
                    entity,
                    page,
                    parent=owner,
                    artifact_type=wanted,
                    name=query.get("name", ""),
                    external_id=query.get("externalId", ""),
                    predicate=predicate,
                )

            items, more = await self._run(work)
            return _answer(
                {
                    "items": items,
                    "nextPageToken": _token(page.offset + len(items)) if more else "",
                    "pageSize": page.size,
                    "size": len(items),
                }
            )

        return _guarded(list_)

    def _create(self, entity: Entity, parent: str = "", artifact_type: str = "") -> Handler:
        async def create(request: web.Request) -> web.Response:
            body = await _body(request)
            if artifact_type:
                body["artifactType"] = artifact_type

            def work(store: RegistryStore) -> dict[str, Any]:
                owner = self._owner(store, parent, request)
                if (known := _known(store, entity, owner, body)) is not None:
                    made = store.update(entity, known, body)
                else:
                    made = store.create(entity, body, owner)
                if parent == "experiment_run" and body.get("artifactType") == "metric":
                    store.record_metrics(request.match_info["id"], made)
                return made

            return _answer(await self._run(work), 201)

        return _guarded(create)

    def _update(self, entity: Entity) -> Handler:
        async def update(request: web.Request) -> web.Response:
            body, key = await _body(request), request.match_info["id"]
            return _answer(await self._run(lambda store: store.update(entity, key, body)))

        return _guarded(update)

    def _related(self, kind: str, field: str) -> Handler:
        async def related(request: web.Request) -> web.Response:
            key = request.match_info["id"]

            def work(store: RegistryStore) -> dict[str, Any]:
                service = store.get(ENTITIES["inference_service"], key)
                return store.get(ENTITIES[kind], str(service.get(field, "")))

            return _answer(await self._run(work))

        return _guarded(related)

    async def _metric_history(self, request: web.Request) -> web.Response:
        key, query = request.match_info["id"], request.query
        steps = frozenset(filter(None, query.get("stepIds", "").split(",")))
        items = await self._run(
            lambda store: store.metric_history(key, query.get("name", ""), steps)
        )
        return _answer({"items": items, "nextPageToken": "", "pageSize": len(items),
                        "size": len(items)})  # fmt: skip

    @staticmethod
    def _owner(store: RegistryStore, parent: str, request: web.Request) -> Parent | None:
        if not parent:
            return None
        found = store.get(ENTITIES[parent], request.match_info["id"])
        return Parent(parent, int(found["id"]))

    async def _run(self, work: Callable[[RegistryStore], T]) -> T:
        now = int(self._context.clock.now().timestamp() * 1000)
        database = await self._context.open_database()
        return await database.run(lambda connection: work(_store(connection, now)))


def _store(connection: sa.Connection, now: int) -> RegistryStore:
    from kubeling.registry.store import RegistryStore

    return RegistryStore(connection, now)


def routes(context: Context) -> list[web.AbstractRouteDef]:
    """The registry's routes."""
    api = RegistryApi(context)
    return [route for prefix in _PREFIXES for route in api.routes(prefix)]


def _known(
    store: RegistryStore, entity: Entity, owner: Parent | None, body: dict[str, Any]
) -> str | None:
    """The id of the artifact a body changes: the one it names; of a run, the one of its name."""
    if owner is None or entity.singular != "artifact":
        return None
    if body.get("id"):
        return str(body["id"])
    if owner.kind != "experiment_run" or not body.get("name"):
        return None
    kind = str(body.get("artifactType", ""))
    found, _ = store.page(entity, Page(1), parent=owner, artifact_type=kind, name=body["name"])
    return str(found[0]["id"]) if found else None


def _guarded(handler: Handler) -> Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except RegistryError as error:
            return _answer({"code": str(error.status), "message": str(error)}, error.status)

    return guarded


def _answer(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json"
    )


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(await request.read())
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be an object")
    return body


def _page(request: web.Request) -> Page:
    query = request.query
    size = query.get("pageSize") or "100"
    if not size.isdigit():
        raise BadRequest(f"pageSize must be a number, not {size}")
    order = (query.get("orderBy") or "ID").upper()
    descending = (query.get("sortOrder") or "ASC").upper() == "DESC"
    return Page(int(size), order, descending, _offset(query.get("nextPageToken", "")))


def _token(offset: int) -> str:
    return base64.urlsafe_b64encode(str(offset).encode()).decode()


def _offset(token: str) -> int:
    if not token:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError):
        raise BadRequest("nextPageToken is not one this server gave out") from None
