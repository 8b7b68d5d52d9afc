"""What stands in front of a container of one's own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from kubeling.serving.agent.app import Agent, Duties, create_app
from kubeling.serving.requestlog.folder import FolderLog
from kubeling.serving.requestlog.record import Counts
from kubeling.serving.server.sampling import Sampler

Client = TestClient[web.Request, web.Application]


async def _predict(request: web.Request) -> web.Response:
    body = await request.json()
    if "instances" not in body:
        return web.json_response({"error": "no instances"}, status=400, headers={"x-own": "1"})
    return web.json_response({"predictions": [sum(row) for row in body["instances"]]})


async def _stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    async for chunk in request.content.iter_any():
        await response.write(chunk[::-1])
    return response


async def _socket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data.upper())
    return socket


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(text="own_total 3\n")


@contextlib.asynccontextmanager
async def in_front(duties: Duties) -> AsyncIterator[Client]:
    """A client of an agent with a container behind it."""
    app = web.Application()
    app.router.add_post("/v1/models/m:predict", _predict)
    app.router.add_post("/stream", _stream)
    app.router.add_get("/socket", _socket)
    app.router.add_get("/metrics", _metrics)
    async with TestServer(app) as container:
        agent = Agent(str(container.make_url("/")), duties)
        async with TestClient(TestServer(create_app(agent))) as client:
            yield client


def recording(folder: Path) -> Duties:
    counts = Counts()
    return Duties(FolderLog(folder, "all", counts), counts, folder, Sampler())


async def post(client: Client, body: Any, **headers: str) -> tuple[int, Any]:
    async with client.post("/v1/models/m:predict", json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_predictions_are_recorded_and_sampled(tmp_path: Path) -> None:
    duties = recording(tmp_path)
    async with in_front(duties) as client:
        assert await post(client, {"instances": [[1, 2]]}, **{"x-request-id": "r1"}) == (
            200,
            {"predictions": [3]},
        )
        assert await post(client, {}) == (400, {"error": "no instances"})
        assert isinstance(duties.log, FolderLog)
        duties.log.flush()
        lines = await (await client.get("/v1/models/m/requests")).text()
        headers = {"X-Forwarded-Host": "m.example.com"}
        assert (await client.post("/monitor/samples", headers=headers)).status == 404
        found = await (await client.post("/monitor/samples")).json()
        metrics = await (await client.get("/metrics")).text()
    first, second = [json.loads(line) for line in lines.splitlines()]
    assert (first["id"], first["status"], first["model"]) == ("r1", 200, "m")
    assert first["response"] == {"predictions": [3]}
    assert second["status"] == 400
    assert found["samples"] == [{"rows": [[1, 2]], "predictions": [3], "id": "r1"}]
    assert "own_total 3" in metrics
    assert "kubeling_request_log_written_total 2" in metrics


async def test_streams_and_sockets_are_passed_on() -> None:
    async with in_front(Duties()) as client:
        async with client.post("/stream", data=b"abc") as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"
            assert await answer.read() == b"cba"
        async with client.ws_connect("/socket") as socket:
            await socket.send_str("hello")
            assert (await socket.receive()).data == "HELLO"
        missing = await client.get("/nothing")
        assert missing.status == 404


async def _cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"the beginning")
    assert request.transport is not None
    request.transport.close()
    return response


async def test_an_answer_that_is_cut_off_is_not_finished_by_another() -> None:
    app = web.Application()
    app.router.add_get("/large", _cut_off)
    async with TestServer(app) as container:
        agent = Agent(str(container.make_url("/")), Duties())
        async with TestClient(TestServer(create_app(agent))) as client:
            answer = await client.get("/large")
            assert answer.status == 200
            with pytest.raises(aiohttp.ClientError):
                await answer.read()


async def test_a_container_that_is_away_is_a_503() -> None:
    agent = Agent("http://127.0.0.1:9", Duties(sampler=Sampler()))
    async with TestClient(TestServer(create_app(agent))) as client:
        status, body = await post(client, {"instances": [[1]]})
        assert status == 503
        assert "cannot be reached at 127.0.0.1:9" in body["error"]
        with contextlib.suppress(aiohttp.ClientError):
            assert (await client.get("/metrics")).status == 200
