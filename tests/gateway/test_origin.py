"""What pages of other sites may do: look at nothing, change nothing."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from kubeling.gateway.origin import same_origin

ELSEWHERE = "http://elsewhere.example"
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {"Origin": ELSEWHERE}, 200),
        ("POST", "/", {}, 200),
        ("POST", "/", {"Origin": ELSEWHERE}, 403),
        ("POST", "/", {"Origin": "null"}, 403),
        ("DELETE", "/", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", "/", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("POST", "/", {"Origin": "https://kf.example", "X-Forwarded-Host": "kf.example"}, 200),
        ("GET", "/", {"Origin": ELSEWHERE, **UPGRADE}, 403),
        ("POST", "/serving/default/m/v1/models/m:predict", {"Origin": ELSEWHERE}, 200),
    ],
)
async def test_only_our_own_pages_change_something(
    method: str, path: str, headers: dict[str, str], status: int
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application(middlewares=[same_origin])
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestClient(TestServer(app)) as client:
        async with client.request(method, path, headers=headers) as response:
            assert response.status == status
        own = {"Origin": str(client.make_url("/").origin())}
        async with client.post("/", headers=own) as response:
            assert response.status == 200
