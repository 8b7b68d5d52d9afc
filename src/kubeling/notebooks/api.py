"""The gateway's way to a notebook: HTTP and WebSockets, straight to its pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from kubeling.component import Context
from kubeling.kube.objects import Obj, is_condition_true
from kubeling.kube.resources import PODS
from kubeling.notebooks.plan import PORT, STOPPED
from kubeling.notebooks.resources import NOTEBOOKS
from kubeling.proxying.headers import end_to_end
from kubeling.proxying.websockets import connected, is_websocket, joined

__all__ = ["routes"]

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
        way = self._websocket if is_websocket(request.headers) else self._http
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
        far = await connected(self._connected(), request, url, _passed_on(request.headers))
        return await joined(request, far)


def _passed_on(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return end_to_end(headers, "content-length", "host")


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
