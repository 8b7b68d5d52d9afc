"""Pods behind the inference gateway, for its tests: processes of their own, asked through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.serving.platform import Serving, is_ready

from kubeling.serving.resources import INFERENCE_SERVICES

__all__ = ["Client", "echo", "pod", "serve"]

Client = aiohttp.ClientSession


async def pod(handler: Callable[[web.Request], Any]) -> TestServer:
    """A pod's process: answers everything with ``handler``."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    server = TestServer(app)
    await server.start_server()
    return server


async def serve(serving: Serving, version: str, number: int, server: TestServer, **f: Any) -> None:
    """Rolls out a revision whose pod is ``server``."""
    container = {
        "image": "mine",
        "env": [{"name": "VERSION", "value": version}],
        "ports": [{"containerPort": server.port}],
    }
    await serving.service("m", predictor={"containers": [container], **f})
    await serving.start(f"m-predictor-{number:05d}")
    await serving.until(INFERENCE_SERVICES, "m", is_ready)


async def echo(request: web.Request) -> web.Response:
    body = (await request.read()).decode()
    seen = {"path": request.raw_path, "body": body, "host": request.host}
    return web.json_response({**seen, "forwarded": request.headers.get("X-Forwarded-Host")})
