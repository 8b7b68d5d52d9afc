"""The Open Inference Protocol over gRPC, and the unmodified clients that speak it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, TrailersReceived
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.model_server import Doubler
from tests.support.client_python import python_with

from kubeling.rpc.calls import Code, Limits, RpcError
from kubeling.rpc.client import call
from kubeling.rpc.wire import MessageError
from kubeling.serving.server import http
from kubeling.serving.server.app import ModelApp
from kubeling.serving.server.dataplane import DataPlane
from kubeling.serving.server.errors import ModelRefusal, Overloaded, ServingError, Unprocessable
from kubeling.serving.server.grpc import messages as m
from kubeling.serving.server.grpc import methods
from kubeling.serving.server.grpc.conversion import (
    request_from,
    request_to,
    response_from,
    response_to,
)
from kubeling.serving.server.grpc.service import answering
from kubeling.serving.server.infer_types import (
    InferInput,
    InferOutput,
    InferRequest,
    InferResponse,
)
from kubeling.serving.server.model import Model
from kubeling.serving.server.predictor import PredictorConfig, set_predictor
from kubeling.serving.server.repository import ModelRepository

CLIENTS = Path(__file__).parent / "clients"
ROWS = m.InferTensor(
    "x", "FP32", [2, 2], contents=m.InferTensorContents(fp32_contents=[1, 2, 3, 4])
)


@contextlib.asynccontextmanager
async def serving(*models: Model) -> AsyncIterator[tuple[int, int]]:
    """The REST and gRPC ports of a server with these models."""
    plane = DataPlane(ModelRepository(models))
    async with http.listening(ModelApp(plane)) as rest, answering(plane) as grpc:
        yield rest, grpc


async def infer(port: int, request: m.ModelInferRequest, **headers: str) -> m.ModelInferResponse:
    return await call(f"127.0.0.1:{port}", methods.MODEL_INFER, request, metadata=headers)


async def sent_packed(
    port: int, packed: bytes, encoding: str = "gzip"
) -> tuple[Code, m.ModelInferResponse]:
    """What is answered to a message that came compressed, as grpcio's clients send it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = H2Connection()
    connection.initiate_connection()
    head = {
        ":method": "POST",
        ":scheme": "http",
        ":authority": "x",
        "te": "trailers",
        ":path": methods.MODEL_INFER.path,
        "content-type": "application/grpc",
        "grpc-encoding": encoding,
    }
    ordered = sorted(head.items(), key=lambda header: not header[0].startswith(":"))
    connection.send_headers(1, ordered)
    connection.send_data(1, struct.pack(">?I", True, len(packed)) + packed, end_stream=True)
    body, status, ended = b"", "", False
    while not ended:
        writer.write(connection.data_to_send())
        for event in connection.receive_data(await asyncio.wait_for(reader.read(65536), 20)):
            if isinstance(event, DataReceived):
                body += event.data
            elif isinstance(event, ResponseReceived | TrailersReceived):
                found = {bytes(k): bytes(v).decode() for k, v in event.headers or ()}
                status = found.get(b"grpc-status", status)
            ended = ended or isinstance(event, StreamEnded)
    writer.close()
    return Code(int(status)), m.ModelInferResponse.from_bytes(body[5:])


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_messages_may_be_compressed(encoding: str, pack: Any) -> None:
    request = m.ModelInferRequest("double", inputs=[ROWS])
    async with serving(Doubler()) as (_, port):
        code, found = await sent_packed(port, pack(request.to_bytes()), encoding)
    (output,) = response_from(found).outputs
    assert (code, output.as_numpy().tolist()) == (Code.OK, [6, 14])


@pytest.mark.parametrize(
    ("packed", "encoding", "expected", "limit"),
    [
        (b"snappy", "snappy", Code.UNIMPLEMENTED, None),
        (b"snappy", "gzip", Code.INVALID_ARGUMENT, None),
        (gzip.compress(b"abc", mtime=0)[:-3], "gzip", Code.INVALID_ARGUMENT, None),
        (gzip.compress(bytes(5000), mtime=0), "gzip", Code.RESOURCE_EXHAUSTED, 1000),
    ],
)
async def test_what_cannot_be_unpacked_is_refused(
    packed: bytes, encoding: str, expected: Code, limit: int | None
) -> None:
    plane = DataPlane(ModelRepository([Doubler()]))
    async with answering(plane, limits=Limits(received=limit)) as port:
        code, _ = await sent_packed(port, packed, encoding)
    assert code is expected


async def test_messages_beyond_the_limits_are_refused() -> None:
    plane = DataPlane(ModelRepository([Doubler()]))
    request = m.ModelInferRequest("double", inputs=[ROWS])
    for limits, words in (
        (Limits(received=10), r"Received message larger than max \(\d+ vs. 10\)"),
        (Limits(sent=10), r"Sent message larger than max \(\d+ vs. 10\)"),
    ):
        async with answering(plane, limits=limits) as port:
            with pytest.raises(RpcError, match=words) as refused:
                await infer(port, request)
            assert refused.value.code is Code.RESOURCE_EXHAUSTED


async def test_tensors_are_answered_in_the_form_they_were_sent_in() -> None:
    raw = m.InferTensor("x", "FP32", [2, 2])
    content = np.array([1, 2, 3, 4], "<f4").tobytes()
    async with serving(Doubler()) as (_, port):
        listed = await infer(port, m.ModelInferRequest("double", id="7", inputs=[ROWS]))
        packed = await infer(
            port, m.ModelInferRequest("double", inputs=[raw], raw_input_contents=[content])
        )
    assert listed.outputs[0].contents.fp32_contents == [6.0, 14.0]
    assert (listed.id, listed.outputs[0].shape) == ("7", [2])
    assert np.frombuffer(packed.raw_output_contents[0], "<f4").tolist() == [6.0, 14.0]
    assert packed.outputs[0].contents == m.InferTensorContents()


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (m.ModelInferRequest("nope", inputs=[ROWS]), Code.NOT_FOUND, "nope does not exist"),
        (m.ModelInferRequest("double", "3", inputs=[ROWS]), Code.NOT_FOUND, "no version 3"),
        (m.ModelInferRequest("double"), Code.INVALID_ARGUMENT, "has no inputs"),
        (
            m.ModelInferRequest("double", inputs=[ROWS], raw_input_contents=[b"\0" * 16]),
            Code.INVALID_ARGUMENT,
            '"x" has contents beside raw_input_contents',
        ),
        (
            m.ModelInferRequest("double", inputs=[m.InferTensor("x", "FP16", [1])]),
            Code.INVALID_ARGUMENT,
            "FP16 in raw_input_contents",
        ),
        (
            m.ModelInferRequest("double", inputs=[m.InferTensor("x", "FP32", [3])]),
            Code.INVALID_ARGUMENT,
            "0 elements were sent, 3 are needed",
        ),
    ],
)
async def test_refusals_have_the_status_of_their_kind(
    request_: m.ModelInferRequest, code: Code, message: str
) -> None:
    async with serving(Doubler()) as (_, port):
        with pytest.raises(RpcError, match=message) as found:
            await infer(port, request_)
    assert found.value.code is code


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (ModelRefusal(401, "who are you?"), Code.UNAUTHENTICATED),
        (ModelRefusal(403, "not for you"), Code.PERMISSION_DENIED),
        (ModelRefusal(409, "changed meanwhile"), Code.ABORTED),
        (Unprocessable("no request"), Code.INVALID_ARGUMENT),
        (Overloaded("8 texts wait"), Code.RESOURCE_EXHAUSTED),
    ],
)
async def test_what_a_model_refuses_has_the_status_of_its_kind(
    refusal: ServingError, code: Code
) -> None:
    class Refusing(Doubler):
        async def predict(self, *_: Any) -> Any:
            raise refusal

    async with serving(Refusing()) as (_, port):
        with pytest.raises(RpcError, match=str(refusal)) as found:
            await infer(port, m.ModelInferRequest("double", inputs=[ROWS]))
    assert found.value.code is code


async def test_what_a_model_says_at_length_is_cut() -> None:
    """Clients refuse trailers that are too long, and then say nothing of the call's status."""

    class Talkative(Doubler):
        async def predict(self, *_: Any) -> Any:
            raise Unprocessable("no: " + "ü\ud800" * 100_000)

    async with serving(Talkative()) as (_, port):
        with pytest.raises(RpcError, match="no: ü") as found:
            await infer(port, m.ModelInferRequest("double", inputs=[ROWS]))
    assert found.value.code is Code.INVALID_ARGUMENT
    assert len(str(found.value).encode()) < 3000


async def test_a_model_that_is_not_ready_is_unavailable() -> None:
    model = Doubler()
    model.ready = False
    async with serving(model) as (_, port):
        with pytest.raises(RpcError) as found:
            await infer(port, m.ModelInferRequest("double", inputs=[ROWS]))
        ready = await call(f"127.0.0.1:{port}", methods.MODEL_READY, m.ModelReadyRequest("double"))
    assert found.value.code is Code.UNAVAILABLE
    assert not ready.ready


async def test_models_see_the_calls_metadata_as_headers() -> None:
    class Header(Model):
        def predict(self, payload: Any, headers: Any, response_headers: Any = None) -> Any:
            return {"predictions": [headers["x-tenant"]]}

    model = Header("header")
    model.ready = True
    async with serving(model) as (_, port):
        found = await infer(
            port, m.ModelInferRequest("header", inputs=[ROWS]), **{"x-tenant": "blue"}
        )
    assert found.outputs[0].contents.bytes_contents == [b"blue"]


@pytest.mark.parametrize("protocol", ["v1", "v2", "grpc-v2"])
async def test_a_transformer_calls_its_predictor_over_each_protocol(protocol: str) -> None:
    class Transformer(Model):
        def preprocess(self, payload: Any, headers: Any) -> Any:
            rows = np.asarray(payload["instances"], dtype=np.float32) + 1
            if protocol == "v1":
                return {"instances": rows.tolist()}
            return InferRequest(self.name, [InferInput("x", rows.shape, "FP32", rows)])

        def postprocess(self, result: Any, headers: Any, response_headers: Any = None) -> Any:
            if protocol == "v1":
                return result
            return {"predictions": result.outputs[0].as_numpy().tolist()}

    transformer = Transformer("double")
    transformer.ready = True
    async with serving(Doubler()) as (rest, grpc), serving(transformer) as (front, _):
        port = grpc if protocol == "grpc-v2" else rest
        set_predictor(PredictorConfig(f"127.0.0.1:{port}", protocol))
        try:
            import aiohttp

            async with aiohttp.ClientSession(f"http://127.0.0.1:{front}") as client:
                url = "/v1/models/double:predict"
                answer = await client.post(url, json={"instances": [[0, 1]]})
                assert await answer.json() == {"predictions": [6.0]}
                refused = await client.post(url, json={"instances": [[0, -5]]})
                assert refused.status == 400
                assert "negative values" in (await refused.json())["error"]
        finally:
            set_predictor(None)


TENSORS = st.sampled_from(["BOOL", "INT8", "UINT16", "INT64", "UINT64", "FP32", "FP64", "BYTES"])


@given(TENSORS, st.lists(st.integers(0, 1), max_size=5), st.booleans())
def test_requests_and_answers_survive_the_messages(
    datatype: str, values: list[int], binary: bool
) -> None:
    texts = [str(value).encode() for value in values]
    data = texts if datatype == "BYTES" else values
    parameters = {"a": True, "b": False, "c": 7, "d": "x", "e": 0.5, "f": 0}
    request = InferRequest("m", [InferInput("x", [len(values)], datatype, data)], "1")
    request.parameters = dict(parameters)
    sent = m.ModelInferRequest.from_bytes(request_to(request).to_bytes())
    again = request_from(sent)
    assert again.inputs[0].as_numpy().tolist() == request.inputs[0].as_numpy().tolist()
    assert (again.parameters, again.id) == (parameters, "1")

    output = InferOutput("y", [len(values)], datatype, data)
    answer = InferResponse("1", "m", [output], use_binary_outputs=binary)
    answered = response_from(m.ModelInferResponse.from_bytes(response_to(answer).to_bytes()))
    assert answered.outputs[0].as_numpy().tolist() == output.as_numpy().tolist()


@given(st.binary(max_size=60))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    with contextlib.suppress(MessageError, ValueError):
        request_from(m.ModelInferRequest.from_bytes(data))


def test_the_bytes_are_those_of_protocol_buffers() -> None:
    """What upstream's generated code makes of the same values."""
    tensor = m.InferTensor(
        "x", "FP32", [-1, 2], contents=m.InferTensorContents(fp32_contents=[0.5])
    )
    wanted = "0a01781204465033321a0bffffffffffffffffff01022a063204" + "0000003f"
    assert tensor.to_bytes().hex() == wanted
    assert m.InferParameter(bool_param=False).to_bytes().hex() == "0800"


async def run_client(file: str, requirement: str, *ports: int) -> Any:
    python = await asyncio.to_thread(python_with, *requirement.split())
    process = await asyncio.create_subprocess_exec(
        str(python),
        str(CLIENTS / file),
        *map(str, ports),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out.decode().splitlines()[-1])


@pytest.mark.e2e
async def test_the_clients_of_kserves_sdk_work_unmodified() -> None:
    async with serving(Doubler()) as ports:
        found = await run_client("kserve_client.py", "kserve==0.21.0 kubernetes<36 pytest", *ports)
    answer = ["7", [6.0, 14.0]]
    assert found == {
        "live": [True, True],
        "ready": [True, True],
        "v1": {"predictions": [6.0, 14.0]},
        "json": answer,
        "binary": answer,
        "binary answer": answer,
        "grpc ready": [True, True, True],
        "grpc": answer,
        "grpc raw": answer,
    }


@pytest.mark.e2e
async def test_tritonclient_works_unmodified() -> None:
    async with serving(Doubler()) as ports:
        found = await run_client("triton_client.py", "tritonclient[http,grpc]==2.73.0", *ports)
    both = {
        "live": True,
        "ready": True,
        "model": True,
        "named output": [6.0, 14.0],
        "unknown": "Model with name nope does not exist.",
        "metadata": ["FP64", [-1, 2]],
        "index": "READY",
        "binary": [6.0, 14.0],
        "packed": [6.0, 14.0],
        "classes": '"output-0": classification (class_count) is not made here; ask for the tensor',
        "override": "a model is loaded as its folder has it; leave out config",
    }
    assert found["http"] == both | {"json": [6.0, 14.0]}
    assert found["grpc"] == both
