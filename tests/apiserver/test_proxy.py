"""HTTP and websockets through the proxy of a pod."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from tests.support.wire import StreamWire, stream_wire

from kubeling.kube.resources import PODS


@pytest.fixture
async def wire() -> AsyncIterator[StreamWire]:
    async with stream_wire() as opened:
        status = {"status": {"phase": "Running", "podIP": "127.0.0.1"}}
        await opened.running.client.patch(PODS, "p", status, "default", subresource="status")
        yield opened


@contextlib.asynccontextmanager
async def serving(
    wire: StreamWire, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
) -> AsyncIterator[str]:
    """A server in the pod; gives its address through the proxy."""
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        yield f"{wire.running.server.url}{PODS.path('default', f'p:{port}', 'proxy')}"
    finally:
        await runner.cleanup()


async def test_websockets_pass_with_their_subprotocol(wire: StreamWire) -> None:
    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["other", "chat"])
        await socket.prepare(request)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(f"{request.path} {message.data}")
            else:
                await socket.send_bytes(message.data)
        return socket

    async with serving(wire, echo) as url:
        socket = await wire.session.ws_connect(f"{url}/room", protocols=["chat"])
        assert socket.protocol == "chat"
        await socket.send_str("hello")
        assert await socket.receive_str() == "/room hello"
        await socket.send_bytes(b"\x00" * 100_000)
        assert len(await socket.receive_bytes()) == 100_000
        await socket.close()


async def test_a_refused_websocket_is_told(wire: StreamWire) -> None:
    async def refuse(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=403)

    async with serving(wire, refuse) as url:
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Version": "13",
        }
        response = await wire.session.get(url + "/", headers=headers)
        assert response.status == 503
        assert "answered 403 instead of a websocket" in (await response.json())["message"]


async def test_redirects_lead_back_through_the_proxy(wire: StreamWire) -> None:
    async def move(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/away":
            return web.Response(status=302, headers={"Location": "https://example.org/x"})
        if request.path == "/folder":
            return web.Response(status=302, headers={"Location": "/folder/?a=1"})
        return web.Response(text=f"{request.rel_url}")

    async with serving(wire, move) as url:
        async with wire.session.get(f"{url}/folder") as response:
            assert await response.text() == "/folder/?a=1"
        async with wire.session.get(f"{url}?q=1") as response:
            assert str(response.url) == f"{url}/?q=1"
            assert await response.text() == "/?q=1"
        async with wire.session.get(f"{url}/away", allow_redirects=False) as response:
            assert response.headers["Location"] == "https://example.org/x"
