"""Whatever is asked, over each protocol, of models of real formats and through the gateway.

A request that cannot be answered is its sender's fault: no 5xx, no INTERNAL, and the server goes on
answering. ``--fuzz 20`` asks twenty times as much, other things each time.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.serving.language_models import gpt2
from tests.serving.language_models import loaded as text_model
from tests.serving.model_server import Doubler, serving, serving_repository
from tests.serving.platform import Serving, is_ready, running_serving

from kubeling.gateway.app import create_app
from kubeling.rpc.calls import Code, RpcError
from kubeling.rpc.client import call
from kubeling.serving.component import COMPONENT
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.server import http, tensors
from kubeling.serving.server.app import ModelApp
from kubeling.serving.server.dataplane import DataPlane
from kubeling.serving.server.formats import create_model
from kubeling.serving.server.grpc import messages as m
from kubeling.serving.server.grpc import methods
from kubeling.serving.server.grpc.service import answering
from kubeling.serving.server.model import Model
from kubeling.serving.server.repository import FolderRepository, ModelRepository, load_model

ROW = [5.1, 3.5, 1.4, 0.2]
EXAMPLES = 60

SCALAR = (
    st.none() | st.booleans() | st.integers(-3, 300) | st.integers() | st.floats(width=32)
    | st.text(max_size=4)
)  # fmt: skip
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
CELL = st.floats(allow_nan=False, allow_infinity=False, width=32) | SCALAR
ROWS = st.lists(st.lists(CELL, min_size=4, max_size=4) | st.lists(CELL, max_size=6), max_size=4)
COLUMNS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "c", "d", "x0"]), CELL), max_size=3)
V1 = st.dictionaries(
    st.sampled_from(["instances", "inputs", "signature_name", "parameters"]),
    ROWS | COLUMNS | VALUE,
    max_size=3,
)
DATATYPE = st.sampled_from([*tensors.DATATYPES, "FP99", "", "fp32"])
SHAPE = st.just([1, 4]) | st.just([2, 4]) | st.lists(st.integers(-2, 5), max_size=3) | VALUE
DATA = (
    st.lists(CELL, min_size=4, max_size=4) | st.lists(CELL, min_size=8, max_size=8) | ROWS | VALUE
)
PARAMETERS = st.dictionaries(
    st.sampled_from(["content_type", "binary_data_size", "binary_data_output", "x"]),
    st.sampled_from(["pd", "np", "str"]) | VALUE,
    max_size=2,
)
TENSOR = st.fixed_dictionaries(
    {"name": st.text(max_size=4) | VALUE, "shape": SHAPE, "datatype": DATATYPE | VALUE},
    optional={"data": DATA, "parameters": PARAMETERS},
)
V2 = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=3)},
    optional={
        "id": VALUE,
        "parameters": PARAMETERS,
        "outputs": st.lists(
            st.fixed_dictionaries({"name": st.just("output-0") | VALUE}), max_size=2
        )
        | VALUE,
    },
)
ODD = st.sampled_from(
    [
        *(b"1e999", b"-1e400", b"NaN", b"Infinity", b"1e-400", b"-0", b"1" + b"0" * 400),
        *(b'"\\ud800"', b'"\\u0000"', b"18446744073709551616", b"\xff", b'"a\xff"', b""),
    ]
)
"""Values that JSON has, or nearly, and that few programs expect."""
DEEP = st.tuples(st.sampled_from([b"[", b'{"a":']), st.integers(50, 1500)).map(
    lambda drawn: drawn[0] * drawn[1] + b"1" + {b"[": b"]"}.get(drawn[0], b"}") * drawn[1]
)
FRAME = st.sampled_from(
    [
        b'{"instances":[[%b,1,2,3]]}',
        b'{"instances":%b}',
        b'{"id":%b,"inputs":[{"name":"a","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}',
        b'{"inputs":[{"name":"a","datatype":"BYTES","shape":[1,1],"data":%b}]}',
        b'{"inputs":[{"name":"a","datatype":"INT64","shape":[1,1],"data":[%b]}]}',
        b'{"inputs":[{"name":"a","datatype":"FP32","shape":[%b,4],"data":[1,2,3,4]}]}',
        b'{"inputs":[{"name":%b,"datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}',
        b'{"parameters":%b,"inputs":[{"name":"a","datatype":"FP32","shape":[1,1],"data":[1]}]}',
    ]
)
BODY = (
    (V1 | V2 | VALUE).map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=40)
    | st.builds(lambda frame, value: frame.replace(b"%b", value), FRAME, ODD | DEEP)
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Content-Type", "Content-Encoding", "Inference-Header-Content-Length", "Ce-Id", "Ce-Type",
         "Ce-Specversion", "Ce-Source", "Accept", "X-Request-Id"]
    ),
    st.sampled_from(
        ["application/json", "application/json; charset=utf-8", "application/octet-stream",
         "application/cloudevents+json", "text/x", "gzip", "identity", "10", "-1", "1.0", "a b"]
    ),
    max_size=4,
)  # fmt: skip
PATH = st.sampled_from(
    [
        *(
            "v1/models/m:predict",
            "v1/models/m:explain",
            "v1/models/m:x",
            "v1/models/m",
            "v1/models",
        ),
        *("v2/models/m/infer", "v2/models/m/versions/1/infer", "v2/models/m", "v2/models/n/infer"),
        *("v2", "v2/health/ready", "v2/repository/index", "metrics", "v1/models/%6d:predict"),
        *("v2/models/m/ready", "v2/models//infer", "v1/models/:predict", "%ff", "v1/models/m/"),
        "v1/models",
        *("v2/repository/models/n/unload", "v2/repository/models/%2e%2e/unload", "openapi.json"),
    ]
)
METHOD = st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "HEAD", "DELETE", "OPTIONS"])
PLAIN = st.tuples(METHOD, PATH, HEADERS, BODY)
PACK = st.sampled_from(
    [
        *(("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress)),
        ("gzip", lambda body: gzip.compress(body)[:-3]),
        ("gzip", lambda body: gzip.compress(body[:3]) + gzip.compress(body[3:])),
        ("gzip", lambda body: gzip.compress(body) + b"rest"),
        ("deflate", lambda body: zlib.compress(body)[2:]),
    ]
)
PACKED = st.tuples(PLAIN, PACK).map(
    lambda drawn: (
        *drawn[0][:2],
        {**drawn[0][2], "Content-Encoding": drawn[1][0]},
        drawn[1][1](drawn[0][3]),
    )
)
REQUEST = PLAIN | PACKED


def drawn(strategy: st.SearchStrategy[Any], fuzz: int, times: int = EXAMPLES) -> list[Any]:
    """Values of the strategy: the same ones each time, unless more are asked for."""
    found: list[Any] = []

    @settings(
        max_examples=times * fuzz,
        derandomize=fuzz == 1,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


async def loaded(model: Model) -> Model:
    await load_model(model)
    model.start()
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models of three formats, each as people save them."""
    joblib = pytest.importorskip("joblib")
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    features, target = load_iris(return_X_y=True)
    places = {name: tmp_path_factory.mktemp(name) for name in ("sklearn", "xgboost", "onnx")}
    fitted = LogisticRegression(max_iter=500).fit(features, target)
    joblib.dump(fitted, places["sklearn"] / "model.joblib")

    import skl2onnx
    import xgboost

    converted = skl2onnx.to_onnx(fitted, features[:1].astype("float32"))
    (places["onnx"] / "model.onnx").write_bytes(converted.SerializeToString())
    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(features, target), 3)
    booster.save_model(places["xgboost"] / "model.json")
    return places


@pytest.mark.parametrize("kind", ["sklearn", "xgboost", "onnx"])
async def test_no_request_over_rest_is_the_servers_fault(
    folders: dict[str, Path], kind: str, fuzz: int
) -> None:
    cases = await asyncio.to_thread(drawn, REQUEST, fuzz)
    model = await loaded(create_model(kind, "m", folders[kind]))
    async with serving_repository(ModelRepository([model])) as client:
        for method, path, headers, body in cases:
            async with client.request(method, f"/{path}", headers=headers, data=body) as answer:
                said = await answer.read()
            fault = answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            asked_for = (method, path, headers, body, said)
            assert not fault or answer.status == HTTPStatus.NOT_IMPLEMENTED, asked_for
        fine = await client.post("/v1/models/m:predict", json={"instances": [ROW]})
        assert fine.status == HTTPStatus.OK, await fine.text()


GENERATED = st.dictionaries(
    st.sampled_from(
        [
            *("text_input", "parameters", "id", "model", "prompt", "messages", "stream", "stop"),
            *("temperature", "top_p", "n", "logprobs", "seed", "max_tokens", "logit_bias", "echo"),
        ]
    ),
    st.just("tiny") | st.integers(-2, 3) | VALUE,
)
FILLED = st.sampled_from(
    [
        {"text_input": "a", "parameters": {"max_tokens": 2}},
        {"model": "tiny", "prompt": "a", "max_tokens": 2},
        {"model": "tiny", "messages": [{"role": "user", "content": "a"}], "max_tokens": 2},
        {},
    ]
)
TEXT_PATH = st.sampled_from(
    [
        *("v2/models/tiny/generate", "v2/models/tiny/generate_stream"),
        *("openai/v1/completions", "openai/v1/chat/completions", "openai/v1/embeddings"),
        *("v1/completions", "v1/chat/completions", "openai/v1/models/tiny", "openai/v1/rerank"),
    ]
)


async def test_no_request_for_text_is_the_servers_fault(tmp_path: Path, fuzz: int) -> None:
    gpt2(tmp_path)
    asked = st.tuples(TEXT_PATH, FILLED, GENERATED, st.none() | st.binary(max_size=20))
    async with serving(text_model(tmp_path)) as client:
        for path, filled, more, other in await asyncio.to_thread(drawn, asked, fuzz, 30):
            body = json.dumps({**filled, **more}).encode() if other is None else other
            async with client.post(f"/{path}", data=body) as answer:
                said = await answer.read()
            assert answer.status < HTTPStatus.INTERNAL_SERVER_ERROR, (path, body, said)


async def test_names_of_models_to_load_are_no_fault_and_are_not_kept_for_ever(
    tmp_path: Path,
) -> None:
    repository = FolderRepository("m", tmp_path, lambda name, _: Doubler(name))
    await repository.load_all()
    odd = ["a" * 300, "a%00b", "%2e%2e", "..%2fm", "%ff", "é", " ", *map(str, range(200))]
    async with serving_repository(repository) as client:
        for title in odd:
            async with client.post(f"/v2/repository/models/{title}/load") as answer:
                assert answer.status in (404, 503), await answer.text()
        listed = await (await client.post("/v2/repository/index")).json()
    assert len(listed) < len(odd)
    assert listed[-1]["reason"].startswith("there is no folder")


CONTENTS = st.builds(
    m.InferTensorContents,
    bool_contents=st.lists(st.booleans(), max_size=4),
    int_contents=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
    int64_contents=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    fp32_contents=st.lists(st.floats(width=32), max_size=8),
    fp64_contents=st.lists(st.floats(), max_size=8),
    bytes_contents=st.lists(st.binary(max_size=4), max_size=4),
)
MESSAGE = st.builds(
    m.ModelInferRequest,
    model_name=st.sampled_from(["m", "m", "n", ""]),
    model_version=st.sampled_from(["", "1", "x"]),
    inputs=st.lists(
        st.builds(
            m.InferTensor,
            st.text(max_size=4),
            DATATYPE,
            st.just([1, 4]) | st.lists(st.integers(-2, 5), max_size=3),
            contents=CONTENTS,
        ),
        max_size=3,
    ),
    raw_input_contents=st.lists(st.binary(max_size=40), max_size=2),
)


@pytest.mark.parametrize("kind", ["sklearn", "onnx"])
async def test_no_request_over_grpc_is_the_servers_fault(
    folders: dict[str, Path], kind: str, fuzz: int
) -> None:
    cases = await asyncio.to_thread(drawn, MESSAGE, fuzz)
    model = await loaded(create_model(kind, "m", folders[kind]))
    async with answering(DataPlane(ModelRepository([model]))) as port:
        for request in cases:
            code = await code_of(port, request)
            assert code in (Code.OK, Code.INVALID_ARGUMENT, Code.NOT_FOUND), (request, code)
        values = m.InferTensorContents(fp32_contents=ROW)
        fine = m.InferTensor("input-0", "FP32", [1, 4], contents=values)
        assert await code_of(port, m.ModelInferRequest("m", inputs=[fine])) == Code.OK


async def code_of(port: int, request: m.ModelInferRequest) -> Code:
    try:
        await call(f"127.0.0.1:{port}", methods.MODEL_INFER, request)
    except RpcError as error:
        return error.code
    return Code.OK


LINES = st.binary(max_size=30) | st.sampled_from(
    [
        *(b"POST /v1/models/double:predict HTTP/1.1", b"GET / HTTP/1.1", b"GET /v2 HTTP/1.0"),
        *(
            b"Host: x",
            b"Content-Length: 5",
            b"Content-Length: -1",
            b"Content-Length: 99999999999999",
        ),
        *(b"Transfer-Encoding: chunked", b"5\r\nhello", b"0\r\n", b"FFFFFFFFFFFFFFFFF\r\n", b""),
        *(
            b"Expect: 100-continue",
            b"Connection: close",
            b"Upgrade: h2c",
            b'{"instances": [[1, 2]]}',
        ),
    ]
)


async def test_no_bytes_on_a_connection_are_the_servers_fault(fuzz: int) -> None:
    spoken = await asyncio.to_thread(drawn, st.lists(LINES, max_size=9), fuzz, 2 * EXAMPLES)
    app = ModelApp(DataPlane(ModelRepository([Doubler("double")])))
    async with http.listening(app, immediately=app.immediately) as port:
        for lines in spoken:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
            writer.write_eof()
            said = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            assert b"HTTP/1.1 5" not in said, (lines, said)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[TestClient[Any, Any]]:
    """The inference gateway before a model server."""
    app = ModelApp(DataPlane(ModelRepository([Doubler("m")])))
    async with (
        http.listening(app, immediately=app.immediately) as port,
        running_serving(tmp_path) as serving,
        TestClient(TestServer(create_app(serving.context, [COMPONENT]))) as client,
    ):
        await serve(serving, port)
        yield client


async def serve(serving: Serving, port: int) -> None:
    container = {"image": "mine", "ports": [{"containerPort": port}]}
    await serving.service("m", predictor={"containers": [container]})
    await serving.start("m-predictor-00001")
    await serving.until(INFERENCE_SERVICES, "m", is_ready)


async def test_no_request_through_the_gateway_is_its_fault(
    gateway: TestClient[Any, Any], fuzz: int
) -> None:
    hosts = st.sampled_from(["", "m-default.example.com", "m.default.svc.cluster.local", "n"])
    asked = st.tuples(REQUEST, hosts, st.sampled_from(["default/m", "default/n", "x/m", "m"]))
    for (method, path, headers, body), host, place in await asyncio.to_thread(drawn, asked, fuzz):
        url = f"/{path}" if host else f"/serving/{place}/{path}"
        # After a body that is not packed as it says, a connection is closed.
        sent = {**headers, "Connection": "close"} | ({"Host": host} if host else {})
        try:
            async with gateway.request(method, url, headers=sent, data=body) as answer:
                said = await answer.read()
        except aiohttp.ClientError as error:
            if method == "HEAD":
                # aiohttp says what is wrong with a body, if there should be one or not.
                continue
            raise AssertionError((method, url, sent, body)) from error
        fault = answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        assert not fault or answer.status == HTTPStatus.NOT_IMPLEMENTED, (method, url, sent, said)
    fine = await gateway.post(
        "/serving/default/m/v1/models/m:predict", json={"instances": [[1, 2]]}
    )
    assert await fine.json() == {"predictions": [6]}
