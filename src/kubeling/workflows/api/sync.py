"""Limits of semaphores, in ConfigMaps or in the database. Upstream: ``server/sync``."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from aiohttp import web

from kubeling.component import Context
from kubeling.kube.client import Client
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CONFIG_MAPS, Resource
from kubeling.workflows.api.errors import AlreadyExistsFailure, InvalidArgument, NotFoundFailure
from kubeling.workflows.api.service import Service
from kubeling.workflows.api.wire import body_of, query_of
from kubeling.workflows.resources import WORKFLOWS
from kubeling.workflows.sync_limits import SyncLimits

__all__ = ["SyncService"]


class _Limit(msgspec.Struct, rename="camel"):
    cm_name: str = ""
    key: str = ""
    limit: int = 0
    type: Any = None


class _Limits(Protocol):
    """Where limits are kept: each is named by a namespace, a key and, of some, a ConfigMap.

    ``guard`` is the kind that a caller needs the right to. ``check`` refuses what names no limit;
    the others raise ``AlreadyExistsFailure`` and ``NotFoundFailure``.
    """

    guard: Resource
    type: str

    def check(self, given: _Limit) -> None: ...

    async def create(self, where: str, given: _Limit) -> None: ...

    async def get(self, where: str, given: _Limit) -> int: ...

    async def update(self, where: str, given: _Limit) -> None: ...

    async def delete(self, where: str, given: _Limit) -> None: ...


class SyncService(Service):
    """Limits by where they are kept, which ``type`` says."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        in_config_maps, in_database = _InConfigMaps(self.client), _InDatabase(SyncLimits(context))
        self._kinds: dict[str, _Limits] = {
            **dict.fromkeys(("", "0", in_config_maps.type), in_config_maps),
            **dict.fromkeys(("1", in_database.type), in_database),
        }

    async def create(self, request: web.Request) -> Obj:
        """Sets a limit that there is not."""
        where, given = request.match_info["namespace"], await body_of(request, _Limit)
        limits = self._limits(given, setting=True)
        await self.allow(request, "create", limits.guard, where)
        await limits.create(where, given)
        return _answer(limits, where, given)

    async def get(self, request: web.Request) -> Obj:
        """What the limit is."""
        where, given = request.match_info["namespace"], _named(request)
        limits = self._limits(given)
        await self.allow(request, "get", limits.guard, where)
        given.limit = await limits.get(where, given)
        return _answer(limits, where, given)

    async def update(self, request: web.Request) -> Obj:
        """Changes a limit that there is."""
        where, given = request.match_info["namespace"], await body_of(request, _Limit)
        given.key = request.match_info["key"]
        limits = self._limits(given, setting=True)
        await self.allow(request, "update", limits.guard, where)
        await limits.update(where, given)
        return _answer(limits, where, given)

    async def delete(self, request: web.Request) -> Obj:
        """Takes a limit away."""
        where, given = request.match_info["namespace"], _named(request)
        limits = self._limits(given)
        verb = "update" if limits.guard is CONFIG_MAPS else "delete"
        await self.allow(request, verb, limits.guard, where)
        await limits.delete(where, given)
        return {}

    def _limits(self, given: _Limit, *, setting: bool = False) -> _Limits:
        limits = self._kinds.get("" if given.type is None else str(given.type))
        if limits is None:
            raise InvalidArgument(f"unsupported sync config type: {given.type}")
        if setting and given.limit <= 0:
            raise InvalidArgument("limit must be greater than zero")
        limits.check(given)
        return limits


class _InConfigMaps:
    """Each is a key of a ConfigMap."""

    guard: Resource = CONFIG_MAPS
    type: str = "CONFIGMAP"

    def __init__(self, client: Client) -> None:
        self._client = client

    def check(self, given: _Limit) -> None:
        if not given.cm_name or not given.key:
            raise InvalidArgument("cmName and key: name the ConfigMap and the key in it")

    async def create(self, where: str, given: _Limit) -> None:
        found = await self._client.find(CONFIG_MAPS, given.cm_name, where)
        data = {given.key: str(given.limit)}
        if found is None:
            made = new_object(CONFIG_MAPS, given.cm_name, where, data=data)
            await self._client.create(CONFIG_MAPS, made)
        elif given.key in (found.get("data") or {}):
            raise AlreadyExistsFailure("sync limit cannot be created as it already exists")
        else:
            await self._client.patch(CONFIG_MAPS, given.cm_name, {"data": data}, where)

    async def get(self, where: str, given: _Limit) -> int:
        text = await self._value(where, given)
        if not text.isdecimal():
            raise InvalidArgument(
                f"invalid limit format for key {given.key} in configmap {where}/{given.cm_name}"
            )
        return int(text)

    async def update(self, where: str, given: _Limit) -> None:
        await self._value(where, given, " - please create it first")
        patch = {"data": {given.key: str(given.limit)}}
        await self._client.patch(CONFIG_MAPS, given.cm_name, patch, where)

    async def delete(self, where: str, given: _Limit) -> None:
        patch = {"data": {given.key: None}}
        await self._client.patch(CONFIG_MAPS, given.cm_name, patch, where)

    async def _value(self, where: str, given: _Limit, hint: str = "") -> str:
        found = await self._client.get(CONFIG_MAPS, given.cm_name, where)
        value = (found.get("data") or {}).get(given.key)
        if value is None:
            raise NotFoundFailure(
                f"key {given.key} not found in configmap {where}/{given.cm_name}{hint}"
            )
        return str(value)


class _InDatabase:
    """Each is a row; there is no right to rows, so the right to workflows stands for it."""

    guard: Resource = WORKFLOWS
    type: str = "DATABASE"

    def __init__(self, limits: SyncLimits) -> None:
        self._limits = limits

    def check(self, given: _Limit) -> None:
        if not given.key:
            raise InvalidArgument("key: name the limit")

    async def create(self, where: str, given: _Limit) -> None:
        store = await self._limits.store()
        if not await store.create(f"{where}/{given.key}", given.limit):
            raise AlreadyExistsFailure(
                f'Database sync limit already exists in namespace "{where}".'
            )

    async def get(self, where: str, given: _Limit) -> int:
        row = f"{where}/{given.key}"
        found = (await (await self._limits.store()).read([row])).get(row)
        _there(found is not None, where)
        return found or 0

    async def update(self, where: str, given: _Limit) -> None:
        store = await self._limits.store()
        _there(await store.update(f"{where}/{given.key}", given.limit), where)

    async def delete(self, where: str, given: _Limit) -> None:
        store = await self._limits.store()
        _there(await store.delete(f"{where}/{given.key}"), where)


def _there(found: bool, where: str) -> None:
    if not found:
        raise NotFoundFailure(f'Database sync limit not found in namespace "{where}".')


def _named(request: web.Request) -> _Limit:
    return _Limit(
        cm_name=query_of(request, "cmName"),
        key=request.match_info["key"],
        type=query_of(request, "type"),
    )


def _answer(limits: _Limits, where: str, given: _Limit) -> Obj:
    return {
        "cmName": given.cm_name,
        "namespace": where,
        "key": given.key,
        "limit": given.limit,
        "type": limits.type,
    }
