"""The gateway's way to a notebook: HTTP and WebSockets, straight to its pod."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import aiohttp
from aiohttp import web

from kubeling.component import Context
from kubeling.kube.objects import Obj, is_condition_true
from kubeling.kube.resources import PODS
from kubeling.notebooks.plan import PORT, STOPPED
from kubeling.notebooks.resources import NOTEBOOKS

__all__ = ["routes"]

_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
     "transfer-encoding", "upgrade", "host", "content-length"}
)  # fmt: skip
_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5)


class NotebookProxy:
    """Passes requests on; the path stays as it is, as notebooks know their prefix."""

    def __init__(self, context: Context) -> None:
        self._informers = context.informers
        self._session: aiohttp.ClientSession | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers with what the notebook answers, or says why it cannot."""
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        await self._informers.synced(NOTEBOOKS, PODS)
        notebook = self._informers.of(NOTEBOOKS).get(namespace, name)
        if notebook is None:
            raise web.HTTPNotFound(text=f"There is no notebook {name} in {namespace}.")
        pod = self._informers.of(PODS).get(namespace, f"{name}-0")
        if pod is None or not is_condition_true(pod, "Ready"):
            raise web.HTTPServiceUnavailable(text=_why(notebook, pod), headers={"Retry-After": "2"})
        ports = pod["spec"]["containers"][0].get("ports") or [{"containerPort": PORT}]
        base = f"http://{pod['status']['podIP']}:{ports[0]['containerPort']}"
        websocket = request.headers.get("Upgrade", "").lower() == "websocket"
        way = self._websocket if websocket else self._http
        try:
            return await way(request, base + request.raw_path)
        except aiohttp.ClientConnectorError:
            raise web.HTTPServiceUnavailable(
                text="The notebook does not answer yet; try again in a moment.",
                headers={"Retry-After": "2"},
            ) from None

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=_TIMEOUT, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def _http(self, request: web.Request, url: str) -> web.StreamResponse:
        body = request.content if request.can_read_body else None
        async with self._connected().request(
            request.method, url, headers=_passed_on(request.headers), data=body,
            allow_redirects=False,
        ) as answer:  # fmt: skip
            response = web.StreamResponse(status=answer.status, headers=_passed_on(answer.headers))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    async def _websocket(self, request: web.Request, url: str) -> web.StreamResponse:
        wanted = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        protocols = [protocol for protocol in wanted if protocol]
        headers = {
            k: v for k, v in _passed_on(request.headers).items() if "websocket" not in k.lower()
        }
        async with self._connected().ws_connect(
            url, protocols=protocols, headers=headers, max_msg_size=0
        ) as server:
            chosen = [server.protocol] if server.protocol else []
            client = web.WebSocketResponse(protocols=chosen, max_msg_size=0)
            await client.prepare(request)
            ways = [asyncio.create_task(_pump(client, server)),
                    asyncio.create_task(_pump(server, client))]  # fmt: skip
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            with suppress(ConnectionError):
                await client.close()
            return client


async def _pump(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    target: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    async for message in source:
        if message.type == aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type == aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)


def _passed_on(headers: object) -> dict[str, str]:
    items = headers.items()  # type: ignore[attr-defined]
    return {key: value for key, value in items if key.lower() not in _HOP_BY_HOP}


def _why(notebook: Obj, pod: Obj | None) -> str:
    if STOPPED in (notebook["metadata"].get("annotations") or {}):
        return (
            "The notebook is stopped; remove its annotation kubeflow-resource-stopped to start it."
        )
    state = (notebook.get("status") or {}).get("containerState") or {}
    waiting = state.get("waiting") or {}
    if waiting.get("message"):
        return f"The notebook is not ready: {waiting.get('reason')}: {waiting['message']}"
    return "The notebook is starting; try again in a moment."


def routes(context: Context) -> list[web.AbstractRouteDef]:
    """Everything under a notebook's prefix."""
    proxy = NotebookProxy(context)
    return [
        web.route("*", "/notebook/{namespace}/{name}", proxy.handle),
        web.route("*", "/notebook/{namespace}/{name}/{tail:.*}", proxy.handle),
    ]
