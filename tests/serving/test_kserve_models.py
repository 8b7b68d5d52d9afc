"""Models written for ``kserve`` run with only the package that they import changed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.serving.model_server import serving, serving_repository

from kubeling.rpc.client import call
from kubeling.serving.kserve import (
    InferInput,
    InferOutput,
    InferRequest,
    InferResponse,
    Model,
    ModelRepository,
    ModelServer,
)
from kubeling.serving.kserve.cors import Cors
from kubeling.serving.kserve.errors import InferenceError, ModelNotFound, NoModelReady
from kubeling.serving.kserve.utils.numpy_codec import from_np_dtype, to_np_dtype
from kubeling.serving.kserve.utils.utils import get_predict_input, get_predict_response
from kubeling.serving.server import errors
from kubeling.serving.server.grpc import messages as m
from kubeling.serving.server.grpc import methods
from kubeling.serving.server.http import Request, Response
from kubeling.serving.server.predictor import PredictorConfig, predict_remotely, set_predictor

SCRIPT = Path(__file__).parent / "clients" / "custom_model.py"
PIXELS = bytes([0, 255, 255, 0])
TEXT = base64.b64encode(PIXELS).decode()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextlib.asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the script's server, once it is ready."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        f"--http_port={port}",
        "--model_name=bright",
        *arguments,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            async with asyncio.timeout(60):
                while b"gRPC on port" not in await process.stderr.readline():
                    pass
            assert (await client.get("/v2/health/ready")).status == 200
            yield client
    finally:
        process.terminate()
        assert await process.wait() == 0


async def test_a_custom_model_answers_every_protocol() -> None:
    grpc_port = free_port()
    tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "data": [TEXT]}
    async with running(f"--grpc_port={grpc_port}") as client:
        body = {"instances": [{"image": {"b64": TEXT}}]}
        v1 = await client.post("/v1/models/bright:predict", json=body)
        assert await v1.json() == {"predictions": [0.5]}
        assert v1.headers["pixels"] == "4"

        v2 = await client.post("/v2/models/bright/infer", json={"inputs": [tensor]})
        assert (await v2.json())["outputs"][0]["data"] == [0.5]

        wrong = await client.post("/v1/models/bright:predict", json={"instance": []})
        assert (wrong.status, await wrong.json()) == (400, {"error": "invalid payload"})

        browser = {"Origin": "http://page", "Access-Control-Request-Method": "POST"}
        asked = await client.options("/v1/models/bright:predict", headers=browser)
        assert asked.headers["Access-Control-Allow-Origin"] == "*"
        assert "POST" in asked.headers["Access-Control-Allow-Methods"]

        request = m.ModelInferRequest(
            "bright",
            inputs=[
                m.InferTensor(
                    "x", "BYTES", [1], contents=m.InferTensorContents(bytes_contents=[PIXELS])
                )
            ],
        )
        answer = await call(f"127.0.0.1:{grpc_port}", methods.MODEL_INFER, request)
        assert answer.outputs[0].contents.fp32_contents == [0.5]


class HTTPException(Exception):
    """Stands for FastAPI's, which upstream's models raise."""

    def __init__(self, status_code: int, detail: Any = None) -> None:
        self.status_code = status_code
        self.detail = detail


@pytest.mark.parametrize("path", ["/v1/models/m:predict", "/v2/models/m/infer"])
@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (HTTPException(404, "no such row"), 404, {"detail": "no such row"}),
        (HTTPException(422, {"field": "x"}), 422, {"detail": {"field": "x"}}),
        (HTTPException(200), 500, {"error": "HTTPException: 200"}),
    ],
)
async def test_a_model_may_choose_the_status_as_in_fastapi(
    path: str, raised: HTTPException, status: int, said: Any
) -> None:
    class Choosy(Model):
        def predict(self, payload: Any, headers: Any = None) -> Any:
            raise raised

    model = Choosy("m")
    model.ready = True
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT32", "data": [1]}]}
    async with serving(model) as client:
        answer = await client.post(path, json=body)
        assert (answer.status, await answer.json()) == (status, said)


class Answering(Model):
    """Answers with what it is given at first."""

    def __init__(self, answer: Any) -> None:
        super().__init__("m")
        self.ready = True
        self.answer = answer

    def predict(self, payload: Any, headers: Any = None) -> Any:
        return self.answer(payload) if callable(self.answer) else self.answer


async def pieces(_: Any) -> AsyncIterator[str | bytes]:
    yield "one "
    yield b"two"


@pytest.mark.parametrize(
    ("answer", "said", "kind"),
    [
        (pieces, b"one two", "text/event-stream"),
        (b"\x00raw", b"\x00raw", "application/octet-stream"),
        ("plain", b"plain", "text/plain"),
    ],
)
async def test_what_is_no_json_is_sent_as_the_model_says_it(
    answer: Any, said: bytes, kind: str
) -> None:
    async with serving(Answering(answer)) as client:
        found = await client.post("/v1/models/m:predict", json={"instances": [1]})
        assert (found.status, await found.read(), found.content_type) == (200, said, kind)


async def test_instances_that_are_no_list_are_refused_before_the_model_sees_them() -> None:
    async with serving(Answering([1])) as client:
        set_predictor(PredictorConfig(None, "v1"))
        found = await client.post("/v1/models/m:predict", json={"instances": "one"})
        assert (found.status, await found.json()) == (
            400,
            {"error": 'Expected "instances" to be a list'},
        )


async def test_an_events_data_that_is_no_json_is_the_models_to_read() -> None:
    attributes = {"id": "1", "source": "s", "type": "t", "specversion": "1.0"}
    event = {f"ce-{name}": value for name, value in attributes.items()}
    event["content-type"] = "application/avro"
    async with serving(Answering(lambda data: {"bytes": len(data)})) as client:
        found = await client.post("/v1/models/m:predict", data=b"\x06foo", headers=event)
        assert (found.status, await found.json()) == (200, {"bytes": 4})


async def test_times_are_answered_as_text() -> None:
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    output = InferOutput("t", [1], "BYTES")
    output.set_data_from_numpy(np.array([day], dtype=object), binary_data=False)
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT32", "data": [1]}]}
    async with serving(Answering(InferResponse("1", "m", [output]))) as client:
        found = await (await client.post("/v2/models/m/infer", json=body)).json()
        assert found["outputs"][0]["data"] == ["2026-01-01T00:00:00+00:00"]


async def test_a_repository_of_ones_own_may_say_that_it_did_not_load() -> None:
    class Choosy(ModelRepository):
        def load(self, name: str) -> bool:
            return name == "good"

    async with serving_repository(Choosy()) as client:
        statuses = [
            (await client.post(f"/v2/repository/models/{name}/load")).status
            for name in ("good", "bad")
        ]
        assert statuses == [200, 503]


def test_a_server_without_a_model_that_is_ready_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["model"])
    with pytest.raises(NoModelReady, match=r"Model with name late is not ready. Does load\(\) set"):
        ModelServer().start([Model("late")])


def test_middleware_that_needs_asgi_is_refused() -> None:
    from kubeling.serving.kserve.model_server import app

    class GZipMiddleware:
        pass

    with pytest.raises(TypeError, match="GZipMiddleware needs an ASGI server"):
        app.add_middleware(GZipMiddleware)


async def test_a_page_of_another_origin_may_read_a_refusal() -> None:
    async def refuse(_: Request) -> Response:
        raise ModelNotFound("nope")

    answer = Cors(allow_origins=["*"]).around(refuse)
    found = await answer(Request("GET", "/v1/models/nope", {"origin": "http://page"}, b""))
    assert found.status == 404
    assert found.headers["access-control-allow-origin"] == "*"


async def test_a_predictors_refusals_and_headers_are_passed_on() -> None:
    async def predict(request: web.Request) -> web.Response:
        if "missing" in request.path:
            return web.json_response({"error": "no such model"}, status=404)
        return web.json_response({"predictions": [1]}, headers={"x-cost": "3"})

    app = web.Application()
    app.router.add_post("/{path:.*}", predict)
    async with TestServer(app) as server:
        predictor = PredictorConfig(f"127.0.0.1:{server.port}")
        headers: dict[str, str] = {}
        found = await predict_remotely(predictor, "m", {"instances": [1]}, {}, headers)
        assert (found, headers) == ({"predictions": [1]}, {"x-cost": "3"})
        with pytest.raises(errors.ModelNotFound, match="no such model"):
            await predict_remotely(predictor, "missing", {"instances": [1]}, {})


async def test_an_explainer_asks_the_predictor_itself() -> None:
    class Explainer(Model):
        async def explain(self, payload: Any, headers: Any = None) -> Any:
            asked = [await self.predict({"instances": [[row]]}) for row in (1, 2)]
            return {"explanations": [one["predictions"] for one in asked]}

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"predictions": (await request.json())["instances"]})

    app = web.Application()
    app.router.add_post("/v1/models/m:predict", answer)
    async with TestServer(app) as predictor:
        set_predictor(PredictorConfig(f"127.0.0.1:{predictor.port}"))
        try:
            explainer = Explainer("m")
            explainer.ready = True
            async with serving(explainer) as client:
                found = await client.post("/v1/models/m:explain", json={"instances": [[0]]})
                assert await found.json() == {"explanations": [[[1]], [[2]]]}
        finally:
            set_predictor(None)


def test_errors_have_upstreams_arguments_and_words() -> None:
    assert str(ModelNotFound("m")) == "Model with name m does not exist."
    assert str(InferenceError("no", status="oops")) == "[oops] no"


def test_rows_and_answers_of_either_protocol() -> None:
    rows = get_predict_input({"instances": [[1, 2], [3, 4]]})
    assert rows.tolist() == [[1, 2], [3, 4]]
    assert get_predict_response({"instances": []}, rows.sum(axis=1), "m") == {"predictions": [3, 7]}
    request = InferRequest("m", [InferInput("x", [2], "FP32", [1, 2])], "7")
    answer = get_predict_response(request, get_predict_input(request) * 2, "m")
    assert (answer.id, answer.outputs[0].name) == ("7", "output-0")
    assert answer.outputs[0].as_numpy().tolist() == [2, 4]
    words = InferRequest("m", [InferInput("x", [1], "BYTES", [b"hi"])])
    assert get_predict_input(words) == ["hi"]
    assert get_predict_response(words, np.array(["ok"]), "m").outputs[0].as_string() == ["ok"]


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "INT64", "FP16", "FP64", "BYTES"])
def test_datatypes_are_numpys_and_back(datatype: str) -> None:
    assert from_np_dtype(to_np_dtype(datatype)) == datatype


@pytest.mark.parametrize(
    ("dtype", "expected"), [("U5", "BYTES"), ("S3", "BYTES"), ("M8[s]", "BYTES"), ("c8", None)]
)
def test_types_of_numpy_have_the_datatype_they_travel_as(dtype: str, expected: str | None) -> None:
    assert from_np_dtype(dtype) == expected
    assert to_np_dtype("FP99") is None
