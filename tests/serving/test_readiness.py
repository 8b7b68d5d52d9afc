"""When a starting pod is found ready, before the API says so."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kubeling.kube.objects import Obj
from kubeling.serving.names import AGENT_PORT_NAME
from kubeling.serving.readiness import until_ready

SECONDS = 60


class Server:
    """A server that listens before it is ready."""

    def __init__(self) -> None:
        self.ready = False
        self.asked = asyncio.Event()

    async def answer(self, _: web.Request) -> web.Response:
        self.asked.set()
        return web.Response(status=200 if self.ready else 503)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/ready", self.answer)
        return app


def pod(port: int | None, probed: Any, *others: Obj) -> Obj:
    main = {
        "name": "kserve-container",
        "ports": [{"name": "http1", "containerPort": port}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": probed}},
    }
    return {"spec": {"containers": [main, *others]}}


@pytest.mark.parametrize("named", [True, False])
async def test_a_server_that_listens_is_asked_whether_it_is_ready(named: bool) -> None:
    server = Server()
    async with TestServer(server.app()) as listening, asyncio.timeout(SECONDS):
        obj = pod(listening.port, "http1" if named else listening.port)
        waiting = asyncio.create_task(until_ready(obj, "127.0.0.1"))
        await server.asked.wait()
        assert not waiting.done()
        server.ready = True
        await waiting


async def test_an_agent_in_front_has_to_listen_too() -> None:
    server = Server()
    server.ready = True
    async with TestServer(server.app()) as listening, asyncio.timeout(SECONDS):
        # Bound, and so nobody else's, but not listening yet.
        agent = await asyncio.get_running_loop().create_server(
            asyncio.Protocol, "127.0.0.1", 0, start_serving=False
        )
        port = agent.sockets[0].getsockname()[1]
        front = {"name": "agent", "ports": [{"name": AGENT_PORT_NAME, "containerPort": port}]}
        obj = pod(listening.port, listening.port, front)
        waiting = asyncio.create_task(until_ready(obj, "127.0.0.1"))
        async with agent:
            await asyncio.wait([waiting], timeout=0.1)
            assert not waiting.done()
            await agent.start_serving()
            await waiting
