"""The monitoring transformer in front of a predictor."""

from __future__ import annotations

import numpy as np
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from kubeling.serving.drift.profile import profile_of
from kubeling.serving.monitor.app import Monitor, create_app
from kubeling.serving.monitor.window import MonitorWindow


async def _predict(request: web.Request) -> web.Response:
    body = await request.json()
    if "instances" not in body:
        return web.json_response({"error": "no instances"}, status=400)
    return web.json_response({"predictions": [0 for _ in body["instances"]]})


def _predictor() -> TestServer:
    app = web.Application()
    app.router.add_post("/v1/models/m:predict", _predict)
    app.router.add_get("/v1/models/m", _ready)
    return TestServer(app)


async def _ready(_: web.Request) -> web.Response:
    return web.json_response({"name": "m", "ready": True})


async def test_requests_pass_through_and_drift_shows() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 1))
    window = MonitorWindow(profile_of(rows, ["x"]))
    async with _predictor() as predictor:
        monitor = Monitor(str(predictor.make_url("/")), window, None)
        async with TestClient(TestServer(create_app(monitor))) as client:
            assert (await (await client.get("/v1/models/m")).json())["ready"]
            bad = await client.post("/v1/models/m:predict", json={})
            assert (bad.status, await bad.json()) == (400, {"error": "no instances"})
            body = {"instances": (rows[:100] + 3).tolist()}
            good = await client.post("/v1/models/m:predict", json=body)
            assert len((await good.json())["predictions"]) == 100
            report = await (await client.get("/v1/models/m/drift")).json()
            metrics = await (await client.get("/metrics")).text()
    assert report["requests"] == 1
    assert report["drifted"] == ["x"]
    assert "kubeling_drift_detected 1" in metrics


async def test_a_predictor_that_is_away_is_a_503_and_the_monitor_stays() -> None:
    async with _predictor() as predictor:
        url = str(predictor.make_url("/"))
    window = MonitorWindow(None)
    async with TestClient(TestServer(create_app(Monitor(url, window, None)))) as client:
        answer = await client.post("/v1/models/m:predict", json={"instances": [[1]]})
        assert answer.status == 503
        assert "the predictor cannot be reached" in (await answer.json())["error"]
        report = await (await client.get("/monitor/drift")).json()
    assert report["requests"] == 0
    assert "no reference profile" in report["message"]


def test_what_cannot_be_read_is_counted() -> None:
    window = MonitorWindow(None)
    window.add(b"not json", b"{}")
    window.add(b'{"inputs": [{"datatype": "FP32"}]}', b"{}")
    window.add(b'{"instances": [{"a": 1}, 5]}', b"{}")
    window.add(b'{"inputs": [{"datatype": "FP32", "data": [1], "shape": []}]}', b"{}")
    assert window.report()["unreadable"] == 4


async def test_the_platform_fetches_samples_and_feedback() -> None:
    reference = profile_of(np.arange(200.0).reshape(-1, 1), ["x"])
    async with _predictor() as predictor:
        monitor = Monitor(str(predictor.make_url("/")), MonitorWindow(reference), None)
        async with TestClient(TestServer(create_app(monitor))) as client:
            body, headers = {"instances": [[7.0]]}, {"x-request-id": "r1"}
            await client.post("/v1/models/m:predict", json=body, headers=headers)
            told = await client.post("/v1/models/m:feedback", json={"id": "r1", "label": 1})
            assert told.status == 202
            found = await (await client.post("/monitor/samples")).json()
            profile = await (await client.get("/monitor/profile")).json()
    assert found["samples"] == [{"rows": [[7.0]], "predictions": [0], "id": "r1"}]
    assert found["feedback"] == [{"id": "r1", "label": 1, "predictions": [0]}]
    assert list(profile["features"]) == ["x"]
