"""The gateway leads to notebooks: requests, streams and WebSockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer
from tests.support.apiserver import running_server

from kubeling.component import Context, Settings
from kubeling.kube.client import Client
from kubeling.kube.informer import Informers
from kubeling.kube.objects import new_object
from kubeling.kube.resources import PODS
from kubeling.notebooks.api import routes
from kubeling.notebooks.component import COMPONENT
from kubeling.notebooks.plan import STOPPED
from kubeling.notebooks.resources import NOTEBOOKS

Http = TestClient[Any, Any]
PREFIX = "/notebook/default/nb"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with running_server(COMPONENT, data_dir=tmp_path) as running:
        yield running.client


@pytest.fixture
async def http(tmp_path: Path, client: Client) -> AsyncIterator[Http]:
    async with Informers(client) as informers:
        app = web.Application()
        app.add_routes(routes(Context(client, informers, Settings(tmp_path, tmp_path))))
        async with TestClient(TestServer(app)) as http:
            yield http


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    """Stands for the notebook's own server."""

    async def echo(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade"):
            socket = web.WebSocketResponse(protocols=["v1.kernel.websocket.jupyter.org"])
            await socket.prepare(request)
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await socket.send_str(f"{message.data}!")
                else:
                    await socket.send_bytes(message.data[::-1])
            return socket
        seen = {"path": request.path_qs, "body": await request.text(), "method": request.method}
        return web.json_response(seen, status=201, headers={"X-Own": "yes"})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", echo)
    async with TestServer(app) as server:
        yield server


async def start(client: Client, port: int, *, ready: bool = True, **metadata: Any) -> None:
    containers = [{"name": "nb", "image": "x", "ports": [{"containerPort": port}]}]
    template = {"spec": {"containers": containers}}
    notebook = new_object(NOTEBOOKS, "nb", "default", spec={"template": template}, **metadata)
    await client.create(NOTEBOOKS, notebook)
    pod = new_object(PODS, "nb-0", "default", spec={"containers": containers})
    await client.create(PODS, pod)
    conditions = [{"type": "Ready", "status": str(ready)}]
    status = {"podIP": "127.0.0.1", "conditions": conditions}
    await client.patch_status(PODS, "nb-0", status, "default")


async def test_requests_arrive_as_they_were_sent(
    client: Client, http: Http, server: TestServer
) -> None:
    assert server.port is not None
    await start(client, server.port)
    answer = await http.post(f"{PREFIX}/api/contents?type=a%20b", data="text")
    assert answer.status == 201
    assert answer.headers["X-Own"] == "yes"
    path = f"{PREFIX}/api/contents?type=a%20b"
    assert await answer.json() == {"path": path, "body": "text", "method": "POST"}


async def test_kernels_talk_over_websockets(client: Client, http: Http, server: TestServer) -> None:
    assert server.port is not None
    await start(client, server.port)
    protocol = "v1.kernel.websocket.jupyter.org"
    async with http.ws_connect(f"{PREFIX}/api/kernels/1/channels", protocols=[protocol]) as socket:
        assert socket.protocol == protocol
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello!"
        await socket.send_bytes(b"abc")
        assert await socket.receive_bytes() == b"cba"


async def test_a_notebook_that_is_not_there_yet_says_what_to_do(client: Client, http: Http) -> None:
    missing = await http.get(f"{PREFIX}/lab")
    assert missing.status == 404
    await start(client, 1, ready=False, annotations={STOPPED: "now"})
    stopped = await http.get(f"{PREFIX}/lab")
    assert stopped.status == 503
    assert "stopped" in await stopped.text()
