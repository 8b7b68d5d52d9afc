"""What becomes of a request whose pod is gone, or dies with it."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler
from tests.serving.gateway_pods import Client, echo, pod, serve
from tests.serving.platform import Serving, traffic

from kubeling.serving.resources import INFERENCE_SERVICES


async def closes(request: web.Request) -> web.Response:
    """A process that ends: its connections are closed, and it may take more of them meanwhile."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def dying_of(predictions: list[str]) -> Handler:
    """A pod that closes the connection of each prediction, and lives."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/v2/health/live":
            return web.Response()
        predictions.append((await request.read()).decode())
        return await closes(request)

    return answer


async def test_a_pod_that_is_gone_is_passed_over(serving: Serving, gateway: Client) -> None:
    gone, server = await pod(echo), await pod(echo)
    await serve(serving, "1", 1, gone)
    await serve(serving, "2", 2, server, canaryTrafficPercent=50)
    await serving.until(INFERENCE_SERVICES, "m", lambda o: len(traffic(o)) == 2)
    await gone.close()
    for _ in range(4):
        answer = await gateway.post("/serving/default/m/", data="x" * 100_000)
        assert answer.status == 200
        assert len((await answer.json())["body"]) == 100_000
        assert answer.headers["x-kubeling-revision"] == "m-predictor-00002"
    await server.close()


async def test_a_request_that_was_delivered_is_never_sent_again(
    serving: Serving, gateway: Client
) -> None:
    seen: list[str] = []

    async def break_off(request: web.Request) -> web.Response:
        seen.append(request.path)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    server = await pod(break_off)
    await serve(serving, "1", 1, server)
    answer = await gateway.post("/serving/default/m/x", data="x")
    assert answer.status == 502
    assert seen == ["/x"]
    await server.close()


async def test_a_prediction_goes_to_another_pod_if_its_own_dies(
    serving: Serving, gateway: Client
) -> None:
    asked: list[str] = []
    bad, good = await pod(dying_of(asked)), await pod(echo)
    await serve(serving, "1", 1, bad)
    await serve(serving, "2", 2, good, canaryTrafficPercent=1)
    await serving.until(INFERENCE_SERVICES, "m", lambda o: len(traffic(o)) == 2)
    answer = await gateway.post("/serving/default/m/v1/models/m:predict", data="x")
    assert answer.headers["x-kubeling-revision"] == "m-predictor-00002"
    assert (await answer.json())["body"] == "x"
    assert asked == ["x"]
    counted = await (await gateway.get("/api/serving/default/m/traffic")).json()
    assert counted["revisions"]["m-predictor-00002"]["requests"] == 1
    await good.close()
    await bad.close()


async def test_a_prediction_that_kills_takes_two_pods_at_most(
    serving: Serving, gateway: Client
) -> None:
    asked: list[str] = []
    servers = [await pod(dying_of(asked)) for _ in range(3)]
    await serve(serving, "1", 1, servers[0])
    await serve(serving, "2", 2, servers[1], canaryTrafficPercent=50)
    await serving.until(INFERENCE_SERVICES, "m", lambda o: len(traffic(o)) == 2)
    answer = await gateway.post("/serving/default/m/v2/models/m/infer", data="x")
    assert answer.status == 502
    assert "broke off" in (await answer.json())["error"]
    assert asked == ["x", "x"]
    for server in servers:
        await server.close()


async def test_a_prediction_that_kills_waits_for_its_pod_before_it_is_given_to_the_last(
    serving: Serving, gateway: Client
) -> None:
    killed, seen = asyncio.Event(), list[str]()

    async def end(request: web.Request) -> web.Response:
        if b"fine" in await request.read():
            return await echo(request)
        killed.set()
        return await closes(request)

    async def answer(request: web.Request) -> web.Response:
        seen.append((await request.read()).decode())
        return await echo(request)

    bad, good = await pod(end), await pod(answer)
    await serve(serving, "1", 1, bad)
    await serve(serving, "2", 2, good, canaryTrafficPercent=1)
    await serving.until(INFERENCE_SERVICES, "m", lambda o: len(traffic(o)) == 2)
    path = "/serving/default/m/v1/models/m:predict"
    async with asyncio.TaskGroup() as group:
        killing = group.create_task(gateway.post(path, data="kills"))
        await killed.wait()
        for _ in range(5):
            assert (await (await gateway.post(path, data="fine")).json())["body"] == "fine"
        assert "kills" not in seen
        await serving.restarted("m-predictor-00001")
    assert (await killing.result().json())["body"] == "kills"
    assert seen.count("kills") == 1
    await good.close()
    await bad.close()
