"""``/api/serving/{namespace}/{name}/requests``: where servers file requests, and who reads them.

``GET`` takes ``id``, ``kind`` (request or response), ``component``, ``revision``, ``status``,
``since`` and ``until`` (RFC 3339), ``limit`` (at most 1000) and ``before`` (a ``place`` in the
log); the newest come first. An answer ends after 8 MiB, too; ``next`` is the address of the older
ones.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from kubeling.component import Context
from kubeling.kube.objects import Key
from kubeling.serving.gateway import gateway_of
from kubeling.serving.gateway.refusals import Undelivered
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.settings import ServingSettings

__all__ = ["routes"]

_PATH: Final = "/api/serving/{namespace}/{name}/requests"
_MOST: Final = 1000


def routes(context: Context) -> list[web.AbstractRouteDef]:
    """The pages of the log."""
    pages = _Pages(context)
    return [web.post(_PATH, pages.file), web.get(_PATH, pages.read)]


class _Pages:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._access = gateway_of(context).delivery.access
        self._opened: Any = None

    async def file(self, request: web.Request) -> web.Response:
        """Files what a server sends."""
        key = await self._key(request)
        try:
            await self._access.require_pod(key, request.headers.get("Authorization"))
        except Undelivered as refused:
            return _json({"error": refused.message}, refused.status)
        store = await self._store()
        from kubeling.serving.requestlog.store import Filed

        try:
            filed = msgspec.json.decode(await request.read(), type=list[Filed])
        except msgspec.MsgspecError as error:
            return _json({"error": str(error)}, 400)
        await store.add(key.namespace, key.name, filed)
        return _json({"filed": len(filed)}, 202)

    async def read(self, request: web.Request) -> web.Response:
        """The newest requests and answers, of those that are asked for."""
        key = await self._key(request)
        try:
            # Whoever may ask a model may see what it was asked, and nobody else.
            await self._access.require(key, request.headers.get("Authorization"))
        except Undelivered as refused:
            return _json({"error": refused.message}, refused.status)
        store = await self._store()
        from kubeling.serving.requestlog.store import Filter

        try:
            asked = msgspec.convert(dict(request.query), Filter, strict=False)
        except msgspec.ValidationError as error:
            return _json({"error": f"query: {error}"}, 400)
        asked.limit = max(1, min(asked.limit, _MOST))
        page = await store.read(key.namespace, key.name, asked)
        answer: dict[str, Any] = {"requests": page.events}
        if page.older is not None:
            answer["next"] = str(request.rel_url.update_query(before=str(page.older)))
        return _json(answer)

    async def _key(self, request: web.Request) -> Key:
        await self._context.informers.synced(INFERENCE_SERVICES)
        key = Key(request.match_info["namespace"], request.match_info["name"])
        if self._context.informers.of(INFERENCE_SERVICES).get(*key) is None:
            text = f'there is no InferenceService "{key.name}" in "{key.namespace}"'
            raise web.HTTPNotFound(
                body=msgspec.json.encode({"error": text}), content_type="application/json"
            )
        return key

    async def _store(self) -> Any:
        if self._opened is None:
            await self._context.open_database()
            from kubeling.serving.requestlog.store import RequestStore

            kept = ServingSettings.of(self._context.settings).request_log_mib << 20
            self._opened = RequestStore(self._context.open_database, kept)
        return self._opened


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json"
    )
