"""What monitoring knows of a service, for the dashboard and whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from kubeling.component import Context
from kubeling.kube.objects import Key, Obj, uid
from kubeling.serving.gateway import gateway_of
from kubeling.serving.gateway.refusals import Undelivered
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.watching.controller import watcher_of
from kubeling.serving.watching.reporting import condition_of
from kubeling.serving.watching.settings import is_monitored, settings_of

if TYPE_CHECKING:
    from kubeling.serving.watching.watch import WatchState

__all__ = ["routes"]


def routes(context: Context) -> list[web.AbstractRouteDef]:
    """``/api/serving/{namespace}/{name}/drift``."""

    access = gateway_of(context).delivery.access

    async def drift(request: web.Request) -> web.Response:
        await context.informers.synced(INFERENCE_SERVICES)
        key = Key(request.match_info["namespace"], request.match_info["name"])
        try:
            await access.require(key, request.headers.get("Authorization"))
        except Undelivered as refused:
            return web.json_response({"error": refused.message}, status=refused.status)
        isvc = context.informers.of(INFERENCE_SERVICES).get(*key)
        if isvc is None:
            text = f'there is no InferenceService "{key.name}" in "{key.namespace}"'
            return web.json_response({"error": text}, status=404)
        return web.json_response(
            {
                "monitored": is_monitored(isvc),
                "condition": condition_of(isvc),
                "revisions": watcher_of(context).reports(isvc) or await _saved(context, isvc),
            }
        )

    return [web.get("/api/serving/{namespace}/{name}/drift", drift)]


async def _saved(context: Context, isvc: Obj) -> dict[str, dict[str, Any]]:
    """What the watcher saved last, where it runs in another process."""
    if not is_monitored(isvc):
        return {}
    await context.open_database()
    from kubeling.serving.watching.store import WatchStore

    states = await WatchStore(context.open_database).load(uid(isvc))
    return await asyncio.to_thread(_reports, isvc, states)


def _reports(isvc: Obj, states: Mapping[str, WatchState]) -> dict[str, dict[str, Any]]:
    from kubeling.serving.watching.watch import Watch

    found = {}
    for revision, state in states.items():
        watch = Watch(settings_of(isvc), str, state)
        watch.assess()
        found[revision] = watch.report
    return found
