"""Requests to served models, by path and by host."""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from tests.serving.gateway_pods import Client, echo, pod, serve
from tests.serving.platform import (
    NAMESPACE,
    Serving,
    front_door,
    is_ready,
    traffic,
)

from kubeling.gateway.app import create_app
from kubeling.kube.resources import DEPLOYMENTS
from kubeling.serving.component import COMPONENT
from kubeling.serving.resources import INFERENCE_SERVICES


async def explain(_: web.Request) -> web.Response:
    return web.json_response({"explanations": []})


async def test_a_path_leads_to_the_pod_with_the_rest_of_it(
    serving: Serving, gateway: Client
) -> None:
    server = await pod(echo)
    await serve(serving, "1", 1, server)
    path = "/serving/default/m/v1/models/m:predict?a=b%20c"
    answer = await gateway.post(path, data="hello")
    found = await answer.json()
    assert found["path"] == "/v1/models/m:predict?a=b%20c"
    assert found["body"] == "hello"
    assert answer.headers["x-kubeling-revision"] == "m-predictor-00001"
    await server.close()


@pytest.mark.parametrize(
    "host",
    ["m-default.example.com", "m.default.example.com", "m.default.svc.cluster.local", "M.default"],
)
async def test_a_host_leads_to_the_pod(serving: Serving, gateway: Client, host: str) -> None:
    server = await pod(echo)
    await serve(serving, "1", 1, server)
    answer = await gateway.get("/v1/models/m", headers={"Host": f"{host}:8080"})
    assert (await answer.json())["path"] == "/v1/models/m"
    other = await gateway.get("/healthz", headers={"Host": "127.0.0.1"})
    assert await other.text() == "ok"
    await server.close()


async def test_an_explanation_is_asked_of_the_explainer(serving: Serving, gateway: Client) -> None:
    server = await pod(echo)
    other = await pod(explain)
    container = {"image": "mine", "ports": [{"containerPort": server.port}]}
    explainer = {"image": "mine", "ports": [{"containerPort": other.port}]}
    await serving.service(
        "m", predictor={"containers": [container]}, explainer={"containers": [explainer]}
    )
    await serving.start("m-predictor-00001")
    await serving.start("m-explainer-00001")
    await serving.until(INFERENCE_SERVICES, "m", is_ready)
    answer = await gateway.post("/serving/default/m/v1/models/m:explain", json={})
    assert await answer.json() == {"explanations": []}
    answer = await gateway.post("/serving/default/m/v1/models/m:predict", json={})
    assert (await answer.json())["path"] == "/v1/models/m:predict"
    await server.close()
    await other.close()


async def test_a_canary_gets_its_share_and_is_counted(serving: Serving, gateway: Client) -> None:
    server = await pod(echo)
    await serve(serving, "1", 1, server)
    await serve(serving, "2", 2, server, canaryTrafficPercent=10)
    await serving.until(INFERENCE_SERVICES, "m", lambda o: len(traffic(o)) == 2)
    answers: Counter[str] = Counter()
    for _ in range(50):
        answer = await gateway.get("/serving/default/m/")
        answers[answer.headers["x-kubeling-revision"]] += 1
    assert answers == {"m-predictor-00001": 45, "m-predictor-00002": 5}
    counted = await (await gateway.get("/api/serving/default/m/traffic")).json()
    assert counted["revisions"]["m-predictor-00002"]["requests"] == 5


async def test_what_was_answered_is_there_for_prometheus(serving: Serving, gateway: Client) -> None:
    server = await pod(echo)
    await serve(serving, "1", 1, server)
    for _ in range(3):
        await gateway.get("/serving/default/m/")
    text = await (await gateway.get("/metrics")).text()
    labels = 'inferenceservice="m",namespace="default",revision="m-predictor-00001"'
    assert f'kubeling_inference_requests_total{{code="200",{labels}}} 3' in text
    assert f"kubeling_inference_requests_in_flight{{{labels}}} 0" in text
    assert 'quantile="0.99"' in text
    await server.close()


async def test_a_transformer_without_pods_is_not_passed_by(
    serving: Serving, gateway: Client
) -> None:
    server = await pod(echo)
    container = {"image": "mine", "ports": [{"containerPort": server.port}]}
    parts = {"predictor": {"containers": [container]}, "transformer": {"containers": [container]}}
    await serving.service("m", **parts)
    await serving.start("m-predictor-00001")
    await serving.start("m-transformer-00001")
    await serving.until(INFERENCE_SERVICES, "m", is_ready)
    await serving.stop("m-transformer-00001")
    await serving.until(INFERENCE_SERVICES, "m", lambda o: not is_ready(o))
    assert (await gateway.get("/serving/default/m/")).status == 503
    await server.close()


async def test_a_canary_that_fails_is_rolled_back(serving: Serving, gateway: Client) -> None:
    async def fail(_: web.Request) -> web.Response:
        return web.Response(status=500)

    good, bad = await pod(echo), await pod(fail)
    await serve(serving, "1", 1, good)
    container = {"image": "mine", "ports": [{"containerPort": bad.port}]}
    limit = {"serving.kubeling.io/rollback-error-rate": "5%"}
    await serving.client.patch(
        INFERENCE_SERVICES, "m", {"metadata": {"annotations": limit}}, NAMESPACE
    )
    predictor = {"containers": [container], "canaryTrafficPercent": 50}
    await serving.service("m", predictor=predictor)
    await serving.start("m-predictor-00002")
    await serving.until(INFERENCE_SERVICES, "m", lambda o: len(traffic(o)) == 2)
    for _ in range(40):
        await gateway.get("/serving/default/m/")
    rolled_back = {"m-predictor-00002": 0, "m-predictor-00001": 100}
    isvc = await serving.until(INFERENCE_SERVICES, "m", lambda o: traffic(o) == rolled_back)
    assert is_ready(isvc)
    await serving.event(
        "m-predictor-00002 gets no more requests: 20 of 20 requests failed, more than 0.05 of "
        "them. Apply a better model, or remove the annotation serving.kubeling.io/rejected from "
        "the Deployment to try again"
    )
    counted = await (await gateway.get("/api/serving/default/m/traffic")).json()
    assert "m-predictor-00002" not in counted["revisions"], "another try would be judged by this"
    await good.close()
    await bad.close()


async def test_a_service_that_is_not_ready_says_why(serving: Serving, gateway: Client) -> None:
    await serving.service("m", predictor={"sklearn": {"storageUri": "gs://b/m"}})
    await serving.fail("m-predictor-00001", "storage-initializer", "no such bucket", init=True)
    await serving.until(INFERENCE_SERVICES, "m", _says("no such bucket"))
    answer = await gateway.get("/serving/default/m/v1/models/m")
    assert answer.status == 503
    assert "no such bucket" in (await answer.json())["error"]
    assert answer.headers["Retry-After"] == "1"


def _says(text: str) -> Callable[[Any], bool]:
    return lambda obj: text in str(obj.get("status"))


async def test_an_unknown_service_is_404(gateway: Client) -> None:
    answer = await gateway.get("/serving/default/nope/v1/models")
    assert answer.status == 404
    assert (await answer.json())["error"] == 'there is no InferenceService "nope" in "default"'


async def test_packed_bodies_arrive_and_broken_ones_are_nobody_elses_fault(
    serving: Serving, gateway: Client
) -> None:
    server = await pod(echo)
    await serve(serving, "1", 1, server)
    packed = {"data": zlib.compress(b"x" * 9000, wbits=31), "headers": {"Content-Encoding": "gzip"}}
    answer = await gateway.post("/serving/default/m/", **packed)
    assert (answer.status, (await answer.json())["body"]) == (200, "x" * 9000)
    answer = await gateway.post("/serving/default/m/", **{**packed, "data": b"not packed"})
    assert answer.status == 400
    assert "the request's body cannot be read" in (await answer.json())["error"]

    reader, writer = await asyncio.open_connection(answer.url.host, answer.url.port)
    writer.write(b"POST /serving/default/m/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
    writer.close()
    assert await reader.read() == b""
    counted = await (await gateway.get("/api/serving/default/m/traffic")).json()
    assert counted["revisions"]["m-predictor-00001"]["errors"] == 0
    await server.close()


async def test_an_answer_is_passed_on_as_it_comes(serving: Serving, gateway: Client) -> None:
    more = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await more.wait()
        await response.write(b"data: 2\n\n")
        return response

    server = await pod(stream)
    await serve(serving, "1", 1, server)
    async with gateway.get("/serving/default/m/stream") as answer:
        assert await answer.content.readline() == b"data: 1\n"
        more.set()
        assert b"data: 2" in await answer.content.read()
    await server.close()


async def test_a_stream_that_breaks_off_does_not_look_whole(
    serving: Serving, gateway: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    server = await pod(stream)
    await serve(serving, "1", 1, server)
    async with gateway.get("/serving/default/m/") as answer:
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
    async with asyncio.timeout(10):
        while "GET / of default/m: 200 from m-predictor-00001: " not in caplog.text:
            await gateway.get("/api/serving/default/m/traffic")
    await server.close()


async def test_head_is_told_the_length_that_get_has(serving: Serving, gateway: Client) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 1234)

    server = await pod(answer)
    await serve(serving, "1", 1, server)
    for method in ("HEAD", "GET"):
        found = await gateway.request(method, "/serving/default/m/")
        assert found.headers["Content-Length"] == "1234"
        assert len(await found.read()) == (1234 if method == "GET" else 0)
    await server.close()


async def test_headers_are_those_of_the_client_and_of_the_pod(
    serving: Serving, gateway: Client
) -> None:
    async def tell(request: web.Request) -> web.Response:
        response = web.json_response([name.lower() for name in request.headers])
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    server = await pod(tell)
    await serve(serving, "1", 1, server)
    own = ("Accept", "Accept-Encoding", "User-Agent")
    answer = await gateway.get("/serving/default/m/", skip_auto_headers=own)
    assert not {name.lower() for name in own} & set(await answer.json())
    assert len(answer.headers.getall("Set-Cookie")) == 2
    await server.close()


async def test_requests_wait_for_a_place_and_are_counted(serving: Serving, gateway: Client) -> None:
    ready, most, at_once = asyncio.Event(), 0, 0

    async def work(_: web.Request) -> web.Response:
        nonlocal most, at_once
        at_once += 1
        most = max(most, at_once)
        await ready.wait()
        at_once -= 1
        return web.Response()

    server = await pod(work)
    await serve(serving, "1", 1, server, containerConcurrency=1)
    asked = [asyncio.create_task(gateway.get("/serving/default/m/")) for _ in range(3)]
    labels = 'inferenceservice="m",namespace="default",revision="m-predictor-00001"'
    async with asyncio.timeout(10):
        text = ""
        while f"kubeling_inference_requests_in_flight{{{labels}}} 3" not in text:
            text = await (await gateway.get("/metrics")).text()
    assert f"kubeling_inference_requests_waiting{{{labels}}} 2" in text
    ready.set()
    assert [answer.status for answer in await asyncio.gather(*asked)] == [200, 200, 200]
    assert most == 1
    await server.close()


async def test_a_websocket_is_passed_through(serving: Serving, gateway: Client) -> None:
    ended = asyncio.get_running_loop().create_future()

    async def shout(request: web.Request) -> web.StreamResponse:
        if request.path != "/ws":
            return web.Response(status=404)
        socket = web.WebSocketResponse(protocols=["v1"])
        await socket.prepare(request)
        async for message in socket:
            if message.type == aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data.upper())
            else:
                await socket.send_bytes(message.data)
        ended.set_result(socket.close_code)
        return socket

    server = await pod(shout)
    await serve(serving, "1", 1, server, timeout=1)
    path = "/serving/default/m/ws"
    async with gateway.ws_connect(path, protocols=["v0", "v1"]) as socket:
        assert socket.protocol == "v1"
        await socket.send_str("hello")
        assert await socket.receive_str() == "HELLO"
        await socket.send_bytes(b"\x00")
        assert await socket.receive_bytes() == b"\x00"
        await socket.close(code=4000)
    assert await asyncio.wait_for(ended, 10) == 4000
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await gateway.ws_connect("/serving/default/m/other")
    assert refused.value.status == 404
    counted = await (await gateway.get("/api/serving/default/m/traffic")).json()
    assert counted["revisions"]["m-predictor-00001"]["requests"] == 2
    await server.close()


async def test_a_websocket_ends_with_its_pod(serving: Serving, gateway: Client) -> None:
    async def leave(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close(code=4001)
        return socket

    server = await pod(leave)
    await serve(serving, "1", 1, server)
    async with gateway.ws_connect("/serving/default/m/") as socket:
        message = await socket.receive(timeout=10)
        assert message.type == aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 4001
    await server.close()


async def test_a_slow_answer_ends_at_the_services_timeout(
    serving: Serving, gateway: Client
) -> None:
    never = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    server = await pod(hang)
    await serve(serving, "1", 1, server, timeout=1)
    answer = await gateway.get("/serving/default/m/")
    assert answer.status == 504
    assert "did not answer within 1 s" in (await answer.json())["error"]
    never.set()
    await server.close()


@pytest.mark.parametrize("size", [1, 2 << 20], ids=["the short way", "the long way"])
async def test_a_pod_is_left_when_its_client_is(serving: Serving, size: int) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await request.content.read()
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return web.Response()

    server = await pod(hang)
    await serve(serving, "1", 1, server)
    async with front_door(serving.context) as port, Client() as client, asyncio.timeout(30):
        url = f"http://127.0.0.1:{port}/serving/default/m/"
        asking = asyncio.create_task(client.post(url, data=b"x" * size))
        await asked.wait()
        asking.cancel()
        await left.wait()
    await server.close()


async def test_a_pod_is_not_asked_again_for_a_client_that_left(serving: Serving) -> None:
    asked, ended = 0, asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        return response

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        finally:
            ended.set()

    async def leave(request: web.Request, _: web.StreamResponse) -> None:
        if request.transport is not None:
            request.transport.abort()

    server = await pod(stream)
    await serve(serving, "1", 1, server)
    await serve(serving, "2", 2, server, canaryTrafficPercent=50)
    await serving.until(INFERENCE_SERVICES, "m", lambda o: len(traffic(o)) == 2)
    app = create_app(serving.context, [COMPONENT])
    app.middlewares.insert(0, watch)
    app.on_response_prepare.append(leave)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with Client(base) as client:
        with pytest.raises(aiohttp.ClientError):
            await client.post("/serving/default/m/v2/models/m/infer", data="x")
        await ended.wait()
    assert asked == 1
    await runner.cleanup()
    await server.close()


async def test_a_deleted_service_is_forgotten(serving: Serving, gateway: Client) -> None:
    server = await pod(echo)
    await serve(serving, "1", 1, server)
    await gateway.get("/serving/default/m/")
    gone = asyncio.Event()
    services = serving.context.informers.of(INFERENCE_SERVICES)
    services.add_handler(lambda _, new: gone.set() if new is None else None)
    await serving.client.delete(INFERENCE_SERVICES, "m", NAMESPACE)
    await asyncio.wait_for(gone.wait(), 5)
    assert (await gateway.get("/serving/default/m/")).status == 404
    counted = await (await gateway.get("/api/serving/default/m/traffic")).json()
    assert counted == {"revisions": {}, "demand": {}, "wakes": 0}
    await server.close()


async def test_a_revision_that_is_gone_is_forgotten(serving: Serving, gateway: Client) -> None:
    server = await pod(echo)
    await serve(serving, "1", 1, server)
    await serve(serving, "2", 2, server, canaryTrafficPercent=50)
    await serving.until(INFERENCE_SERVICES, "m", lambda o: len(traffic(o)) == 2)
    for _ in range(4):
        await gateway.get("/serving/default/m/")
    gone = asyncio.Event()
    deployments = serving.context.informers.of(DEPLOYMENTS)
    deployments.add_handler(lambda _, new: gone.set() if new is None else None)
    await serving.client.delete(DEPLOYMENTS, "m-predictor-00001", NAMESPACE)
    await asyncio.wait_for(gone.wait(), 10)
    counted = await (await gateway.get("/api/serving/default/m/traffic")).json()
    assert set(counted["revisions"]) == set(counted["demand"]) == {"m-predictor-00002"}
    await server.close()
