"""Limits of semaphores, which are values of ConfigMaps. Upstream: ``server/sync/sync_cm.go``."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CONFIG_MAPS
from kubeling.workflows.api.errors import AlreadyExistsFailure, InvalidArgument, NotFoundFailure
from kubeling.workflows.api.service import Service
from kubeling.workflows.api.wire import body_of, query_of

__all__ = ["SyncService"]

_CONFIG_MAP = ("", "0", "CONFIGMAP")


class _Limit(msgspec.Struct, rename="camel"):
    cm_name: str = ""
    key: str = ""
    limit: int = 0
    type: Any = None


class SyncService(Service):
    """One limit: a key of a ConfigMap."""

    async def create(self, request: web.Request) -> Obj:
        """Sets a limit that there is not."""
        where, given = request.match_info["namespace"], await body_of(request, _Limit)
        _check(given, given.key)
        await self.allow(request, "create", CONFIG_MAPS, where)
        found = await self.client.find(CONFIG_MAPS, given.cm_name, where)
        data = {given.key: str(given.limit)}
        if found is None:
            made = new_object(CONFIG_MAPS, given.cm_name, where, data=data)
            await self.client.create(CONFIG_MAPS, made)
        elif given.key in (found.get("data") or {}):
            raise AlreadyExistsFailure("sync limit cannot be created as it already exists")
        else:
            await self.client.patch(CONFIG_MAPS, given.cm_name, {"data": data}, where)
        return _answer(given.cm_name, where, given.key, given.limit)

    async def get(self, request: web.Request) -> Obj:
        """What the limit is."""
        where, key = request.match_info["namespace"], request.match_info["key"]
        named = _named(request)
        await self.allow(request, "get", CONFIG_MAPS, where)
        text = await self._value(where, named, key)
        if not text.isdecimal():
            raise InvalidArgument(
                f"invalid limit format for key {key} in configmap {where}/{named}"
            )
        return _answer(named, where, key, int(text))

    async def update(self, request: web.Request) -> Obj:
        """Changes a limit that there is."""
        where, key = request.match_info["namespace"], request.match_info["key"]
        given = await body_of(request, _Limit)
        _check(given, key)
        await self.allow(request, "update", CONFIG_MAPS, where)
        await self._value(where, given.cm_name, key, " - please create it first")
        patch = {"data": {key: str(given.limit)}}
        await self.client.patch(CONFIG_MAPS, given.cm_name, patch, where)
        return _answer(given.cm_name, where, key, given.limit)

    async def delete(self, request: web.Request) -> Obj:
        """Takes a limit away."""
        where, key = request.match_info["namespace"], request.match_info["key"]
        named = _named(request)
        await self.allow(request, "update", CONFIG_MAPS, where)
        await self.client.patch(CONFIG_MAPS, named, {"data": {key: None}}, where)
        return {}

    async def _value(self, where: str, named: str, key: str, hint: str = "") -> str:
        found = await self.client.get(CONFIG_MAPS, named, where)
        value = (found.get("data") or {}).get(key)
        if value is None:
            raise NotFoundFailure(f"key {key} not found in configmap {where}/{named}{hint}")
        return str(value)


def _named(request: web.Request) -> str:
    _check_type(query_of(request, "type"))
    named = query_of(request, "cmName")
    if not named:
        raise InvalidArgument("cmName: name the ConfigMap that holds the limit")
    return named


def _check(given: _Limit, key: str) -> None:
    _check_type(given.type)
    if given.limit <= 0:
        raise InvalidArgument("limit must be greater than zero")
    if not given.cm_name or not key:
        raise InvalidArgument("cmName and key: name the ConfigMap and the key in it")


def _check_type(wanted: Any) -> None:
    if str(wanted or "") not in _CONFIG_MAP:
        raise InvalidArgument(f"unsupported sync config type: {wanted}")


def _answer(named: str, where: str, key: str, limit: int) -> Obj:
    return {
        "cmName": named,
        "namespace": where,
        "key": key,
        "limit": limit,
        "type": "CONFIGMAP",
    }
