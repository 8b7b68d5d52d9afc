"""The verbs on resources: from a request to the registry and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kubeling.apiserver.appliedtypes import check_applied
from kubeling.apiserver.apply import Applied, apply
from kubeling.apiserver.bodies import media_type, read_object, read_patch
from kubeling.apiserver.converted import ConvertedResources, kept_version
from kubeling.apiserver.deletion import DeleteOptions
from kubeling.apiserver.fields import applicable, applied_by, author
from kubeling.apiserver.metadata import check_identity
from kubeling.apiserver.options import MANAGER_LIMIT, ListOptions, WriteOptions
from kubeling.apiserver.patch import json_patch, merge_patch, strategic_merge_patch
from kubeling.apiserver.rbac import Attributes, Authorizer, forbidden
from kubeling.apiserver.registry import Registry, Transform
from kubeling.apiserver.requests import (
    Answer,
    ApiRequest,
    ObjectAnswer,
    StoredAnswer,
    Target,
    WatchAnswer,
)
from kubeling.apiserver.scale import scale_of, with_scale
from kubeling.apiserver.schema import Schema
from kubeling.apiserver.served import Served
from kubeling.apiserver.strategy import CREATED_BY_UPDATE
from kubeling.kube.errors import ApiError, BadRequest, Conflict, UnsupportedMediaType
from kubeling.kube.objects import Obj, deep_copy
from kubeling.kube.transport import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH

__all__ = ["Verbs"]

_OPERATIONS: Final = 10_000
"""How many operations a JSON patch may have."""
_WRITES: Final = frozenset({"create", "update", "patch"})


class Verbs:
    """Serves get, list, watch, create, update, patch and delete for every kind alike."""

    def __init__(
        self, registry: Registry, converted: ConvertedResources, authorizer: Authorizer
    ) -> None:
        self._registry = registry
        self._converted = converted
        self._authorizer = authorizer

    async def handle(
        self, verb: str, served: Served, target: Target, request: ApiRequest
    ) -> Answer:
        """Carries out a verb that authorisation has allowed."""
        if not served.by_webhook or verb in _WRITES:
            return await self._handle(verb, served, target, request)
        answer = await self._handle(verb, kept_version(served), target, request)
        return await self._converted.shown(answer, served)

    async def _handle(
        self, verb: str, served: Served, target: Target, request: ApiRequest
    ) -> Answer:
        match verb:
            case "get":
                return self._get(served, target)
            case "list":
                options = ListOptions.parse(request.query)
                await self._registry.prepare_selection(served, options)
                return StoredAnswer(self._registry.list(served, target.namespace, options))
            case "watch":
                options = ListOptions.parse(request.query, watch=True)
                changes = self._registry.watch(served, target.namespace, target.name, options)
                return WatchAnswer(changes, served.resource.api_version)
            case "create":
                return await self._create(served, target, request)
            case "update":
                return await self._update(served, target, request)
            case "patch":
                return await self._patch(served, target, request)
            case "delete":
                options_ = DeleteOptions.parse(read_object(request), request.query, request.user)
                name = target.name
                gone = await self._registry.delete(served, target.namespace, name, options_)
                return ObjectAnswer(gone, 200, options_.warnings)
            case _:
                listing = ListOptions.parse(request.query)
                deletion = DeleteOptions.parse(read_object(request), request.query, request.user)
                return StoredAnswer(
                    await self._registry.delete_collection(
                        served, target.namespace, listing, deletion
                    )
                )

    def _get(self, served: Served, target: Target) -> Answer:
        record = self._registry.record(served, target.namespace, target.name)
        if target.subresource != "scale" and served.shows_as_stored(record):
            return StoredAnswer(record)
        obj = served.present(record.obj)
        return ObjectAnswer(scale_of(served, obj) if target.subresource == "scale" else obj)

    async def _create(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        options = _options(request, target)
        obj = read_object(request, options)
        if obj is None:
            raise BadRequest("the request has no body")
        created = await self._writer(served).create(served, target.namespace, obj, options)
        return ObjectAnswer(created, 201, options.warnings)

    async def _update(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        options = _options(request, target, "UpdateOptions")
        wanted = read_object(request, options)
        if not isinstance(wanted, dict):
            raise BadRequest("the request has no body")
        if target.subresource == "scale":
            return await self._rescale(served, target, options, lambda _: wanted)
        check_identity(wanted, served.resource, target.namespace, target.name)
        create = None
        if served.storage in CREATED_BY_UPDATE and not target.subresource:
            create = self._creation(served, target, options, lambda: deep_copy(wanted))
        obj, created = await self._writer(served).update(
            served, target.namespace, target.name, lambda _: wanted, options, create=create
        )
        return ObjectAnswer(obj, 201 if created else 200, options.warnings)

    def _creation(
        self, served: Served, target: Target, options: WriteOptions, make: Callable[[], Obj]
    ) -> Callable[[], Obj]:
        """Makes what is not there, which whoever may only change things may not."""

        def create() -> Obj:
            resource = served.resource
            wanted = Attributes(
                "create",
                resource.group,
                resource.plural,
                "",
                target.namespace,
                target.name,
                version=resource.version,
            )
            if not self._authorizer.allows(options.user, wanted):
                raise forbidden(options.user, wanted)
            return make()

        return create

    async def _patch(self, served: Served, target: Target, request: ApiRequest) -> Answer:
        kind = media_type(request.content_type)
        options = _options(request, target, "PatchOptions", applies=kind == APPLY_PATCH)
        patch = read_patch(request, options)
        if kind == APPLY_PATCH:
            return await self._apply(served, target, patch, options)
        change = _patcher(served, kind, patch)
        if target.subresource == "scale":
            return await self._rescale(served, target, options, change)
        obj, _ = await self._writer(served).update(
            served, target.namespace, target.name, change, options
        )
        return ObjectAnswer(obj, 200, options.warnings)

    async def _apply(
        self, served: Served, target: Target, applied: Any, options: WriteOptions
    ) -> Answer:
        if not isinstance(applied, dict):
            raise BadRequest("an apply patch is an object")
        if target.subresource == "scale":
            return await self._rescale(
                served, target, options, lambda scale: merge_patch(scale, applied)
            )
        check_identity(applied, served.resource, target.namespace, target.name)
        if (applied.get("metadata") or {}).get("managedFields"):
            raise BadRequest("metadata.managedFields must be nil")
        options.applied = True
        applied = applicable(applied, served, target.subresource)
        by = author(served, options, self._registry.clock.now())
        schema = served.shape.merge_schema
        check_applied(applied, schema)
        obj, created = await self._writer(served).update(
            served,
            target.namespace,
            target.name,
            lambda live: applied_by(by, live, applied, schema),
            options,
            create=None
            if target.subresource
            else self._creation(
                served, target, options, lambda: _born(served, applied, schema, by)
            ),
        )
        return ObjectAnswer(obj, 201 if created else 200, options.warnings)

    def _writer(self, served: Served) -> Registry | ConvertedResources:
        return self._converted if served.by_webhook else self._registry

    async def _rescale(
        self,
        served: Served,
        target: Target,
        options: WriteOptions,
        change: Callable[[Obj], Obj],
    ) -> Answer:
        def transform(obj: Obj) -> Obj:
            return with_scale(served, obj, change(scale_of(served, obj)))

        obj, _ = await self._writer(served).update(
            served, target.namespace, target.name, transform, options
        )
        return ObjectAnswer(scale_of(served, obj), 200, options.warnings)


def _born(served: Served, applied: Obj, schema: Schema | None, by: Applied) -> Obj:
    """The object that comes to be where there is none to apply a manifest to."""
    resource, metadata = served.resource, applied["metadata"]
    if uid := metadata.get("uid"):
        given = f"the provided object specified uid {uid}, and no existing object was found"
        why = f"uid mismatch: {given}"
        raise Conflict.of(resource.group, resource.plural, metadata["name"], why)
    return apply(None, applied, schema, by)


def _patcher(served: Served, kind: str, patch: Any) -> Transform:
    accepted = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH]
    if not served.custom:
        accepted.insert(2, STRATEGIC_PATCH)
    if kind == JSON_PATCH:
        if isinstance(patch, list) and len(patch) > _OPERATIONS:
            most = f"The allowed maximum operations in a JSON patch is {_OPERATIONS}"
            raise ApiError(
                f"{most}, got {len(patch)}",
                code=413,
                reason="RequestEntityTooLarge",
            )
        return lambda obj: json_patch(obj, patch)
    if kind == MERGE_PATCH:
        if not isinstance(patch, dict):
            raise BadRequest("a merge patch is an object")
        return lambda obj: merge_patch(obj, patch)
    if kind == STRATEGIC_PATCH and not served.custom:
        schema = served.shape.merge_schema
        return lambda obj: strategic_merge_patch(obj, patch, schema)
    raise UnsupportedMediaType(
        f"the body of the request was in an unknown format ({kind}) - accepted media types "
        f"include: {', '.join(accepted)}"
    )


def _options(
    request: ApiRequest, target: Target, kind: str = "CreateOptions", *, applies: bool = False
) -> WriteOptions:
    options = WriteOptions.parse(
        request.query, request.user, target.subresource, kind=kind, applies=applies
    )
    if not options.named_manager and request.user_agent:
        agent = request.user_agent.split("/", 1)[0][:MANAGER_LIMIT]
        options.field_manager = "".join(letter for letter in agent if letter.isprintable())
    return options
