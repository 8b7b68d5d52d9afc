"""Traces of serving: one from the client to the model, whatever lies between."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from h2.connection import H2Connection
from tests.serving.model_server import Doubler
from tests.serving.platform import Serving, front_door, is_ready, running_serving
from tests.serving.test_openai_models import Parrot
from tests.serving.test_workers import free_port
from tests.support.collector import Collected, Collector, collecting

from kubeling.kube.objects import Key, new_object
from kubeling.rpc.client import call
from kubeling.serving.agent.app import Agent, Duties, create_app
from kubeling.serving.gateway.entry import gateway_of
from kubeling.serving.graph.resources import INFERENCE_GRAPHS
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.server import http, tracing
from kubeling.serving.server.app import ModelApp
from kubeling.serving.server.dataplane import DataPlane
from kubeling.serving.server.grpc import messages as m
from kubeling.serving.server.grpc import methods
from kubeling.serving.server.grpc.service import answering
from kubeling.serving.server.http import StreamedResponse
from kubeling.serving.server.model import Model
from kubeling.serving.server.predictor import PredictorConfig, set_predictor
from kubeling.serving.server.repository import ModelRepository

TRACE, CLIENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FROM_CLIENT = {"traceparent": f"00-{TRACE}-{CLIENT}-01", "tracestate": "vendor=x"}
ROWS = m.InferTensor(
    "x", "FP32", [2, 2], contents=m.InferTensorContents(fp32_contents=[1, 2, 3, 4])
)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield found


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    set_predictor(None)


@contextlib.asynccontextmanager
async def server(*models: Model) -> AsyncIterator[tuple[aiohttp.ClientSession, int, int]]:
    """A model server with traces as it runs in a pod: a client of it, its REST and gRPC ports."""
    plane = DataPlane(ModelRepository(models))
    app = ModelApp(plane)
    async with tracing.opened() as tracer:
        assert tracer is not None
        plane.traced = True
        quick = tracing.traced_immediately(app.immediately, tracer)
        async with (
            http.listening(tracing.traced(app, tracer), immediately=quick) as rest,
            answering(plane, tracer=tracer) as grpc,
            aiohttp.ClientSession(f"http://127.0.0.1:{rest}") as client,
        ):
            yield client, rest, grpc


def only(spans: list[Collected], name: str, **wanted: Any) -> Collected:
    found = [
        s for s in spans if s.name == name and all(getattr(s, k) == v for k, v in wanted.items())
    ]
    assert len(found) == 1, f"{name}: {found} of {[s.name for s in spans]}"
    return found[0]


async def test_a_prediction_is_a_span_of_the_clients_trace_with_its_parts(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERENCE_SERVICE_NAME", "double")
    body = {"instances": [[1, 2]]}
    async with server(Doubler()) as (client, *_):
        headers = {**FROM_CLIENT, "x-request-id": "r1", "authorization": "Bearer secret"}
        answer = await client.post("/v1/models/double:predict?key=k", json=body, headers=headers)
        assert await answer.json() == {"predictions": [6.0]}
    spans = collector.spans(trace=TRACE)
    request = only(spans, "POST /v1/models/{model}:predict", kind="server", parent=CLIENT)
    assert request.service == "double-predictor"
    assert (request.state, request.failed) == ("vendor=x", False)
    assert request.attributes["http.request.method"] == "POST"
    assert request.attributes["http.route"] == "/v1/models/{model}:predict"
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["url.path"] == "/v1/models/double:predict"
    assert only(spans, "queue", parent=request.id).nanoseconds >= 0
    predict = only(spans, "predict", parent=request.id)
    assert predict.attributes["kubeling.batch.requests"] == 1
    assert "secret" not in str(spans)
    assert "key=k" not in str(spans)


async def test_requests_of_one_batch_say_so(collector: Collector) -> None:
    async with server(Doubler()) as (_, rest, __):
        body = b'{"instances": [[1, 2]]}'
        head = b"POST /v1/models/double:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        both = [await asyncio.open_connection("127.0.0.1", rest) for _ in range(2)]
        for _, writer in both:
            writer.write(head % len(body) + body)
        for reader, writer in both:
            assert b"200 OK" in await reader.readuntil(b"}")
            writer.close()
    batches = [s.attributes["kubeling.batch.requests"] for s in collector.spans(name="predict")]
    assert batches in ([2, 2], [1, 1]), "together if they came together"


async def test_a_refusal_is_no_error_of_the_server_and_a_failure_is(collector: Collector) -> None:
    class Fails(Model):
        def predict(self, payload: Any, *_: Any) -> Any:
            raise RuntimeError("with the client's data")

    model = Fails("fails")
    model.load()
    async with server(model, Doubler()) as (client, *_):
        for path in ("fails:predict", "double:predict", "nobody:predict"):
            await client.post(f"/v1/models/{path}", json={"instances": [[-1]]}, headers=FROM_CLIENT)
    spans = collector.spans(trace=TRACE, kind="server")
    found = {s.attributes["url.path"].rpartition("/")[2]: s for s in spans}
    assert found["fails:predict"].failed
    assert found["fails:predict"].attributes["error.type"] == "500"
    assert found["double:predict"].attributes["http.response.status_code"] == 400
    assert found["nobody:predict"].attributes["http.response.status_code"] == 404
    assert not found["double:predict"].failed
    step = only(collector.spans(), "predict", parent=found["fails:predict"].id)
    assert step.attributes == {"error.type": "RuntimeError"}
    assert "data" not in str(collector.spans())


async def test_a_completion_tells_its_model_and_its_tokens(collector: Collector) -> None:
    parrot = Parrot("parrot")
    parrot.ready = True
    async with server(parrot) as (client, *_):
        body = {"model": "parrot", "prompt": "my secret words"}
        answer = await client.post("/openai/v1/completions", json=body, headers=FROM_CLIENT)
        assert answer.status == 200
    span = only(collector.spans(), "POST /openai/v1/completions", parent=CLIENT)
    assert span.attributes["gen_ai.operation.name"] == "text_completion"
    assert span.attributes["gen_ai.request.model"] == "parrot"
    assert span.attributes["gen_ai.usage.output_tokens"] == 3
    assert "secret" not in str(span)


async def test_a_call_of_grpc_is_a_span_too(collector: Collector) -> None:
    async with server(Doubler()) as (_, __, grpc):
        request = m.ModelInferRequest("double", inputs=[ROWS])
        address = f"127.0.0.1:{grpc}"
        await call(address, methods.MODEL_INFER, request, metadata=FROM_CLIENT)
        await call(address, methods.SERVER_READY, m.ServerReadyRequest(), metadata=FROM_CLIENT)
    spans = collector.spans(trace=TRACE)
    title = "inference.GRPCInferenceService/ModelInfer"
    request_span = only(spans, title, kind="server", parent=CLIENT)
    assert request_span.attributes["rpc.system.name"] == "grpc"
    assert request_span.attributes["rpc.response.status_code"] == "OK"
    predict = only(spans, "predict", parent=request_span.id)
    assert predict.attributes["kubeling.batch.requests"] == 1
    assert {s.name for s in spans} == {title, "predict", "queue"}, "and probes are none"


@pytest.mark.parametrize("protocol", ["v1", "grpc-v2"])
@pytest.mark.usefixtures("predictor")
async def test_a_transformer_passes_its_trace_on_to_the_predictor(
    collector: Collector, protocol: str
) -> None:
    class Transformer(Model):
        def preprocess(self, payload: Any, headers: dict[str, str]) -> Any:
            seen.append(headers["traceparent"])
            return payload

    seen: list[str] = []
    transformer = Transformer("double")
    transformer.load()
    async with server(Doubler()) as (_, rest, grpc), server(transformer) as (client, *_):
        port = rest if protocol == "v1" else grpc
        set_predictor(PredictorConfig(f"127.0.0.1:{port}", protocol))
        if protocol == "v1":
            path, body = "/v1/models/double:predict", {"instances": [[1, 2]]}
        else:
            tensor = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}
            path, body = "/v2/models/double/infer", {"inputs": [tensor]}
        answer = await client.post(path, json=body, headers=FROM_CLIENT)
        assert answer.status == 200
    spans = collector.spans(trace=TRACE)
    first = only(spans, f"POST {path.replace('double', '{model}')}", parent=CLIENT)
    assert seen == [f"00-{TRACE}-{first.id}-01"], "what a model asks itself can go on from there"
    only(spans, "preprocess", parent=first.id)
    step = next(s for s in spans if s.name == "predict" and s.parent == first.id)
    asked = next(s for s in spans if s.kind == "client")
    assert asked.parent == step.id
    assert (asked.attributes["server.address"], asked.attributes["server.port"]) == (
        "127.0.0.1",
        port,
    )
    second = next(s for s in spans if s.parent == asked.id)
    assert (second.kind, second.failed) == ("server", False)


@pytest.mark.usefixtures("predictor")
async def test_what_a_client_says_is_passed_on_without_traces_too() -> None:
    seen: list[str | None] = []

    async def look(request: http.Request) -> http.Response:
        seen.append(request.headers.get("traceparent"))
        return http.json_response({"predictions": []})

    transformer = Model("m")
    transformer.load()
    app = ModelApp(DataPlane(ModelRepository([transformer])))
    async with http.listening(look) as predictor_port, http.listening(app) as port:
        set_predictor(PredictorConfig(f"127.0.0.1:{predictor_port}"))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            answer = await client.post(
                "/v1/models/m:predict", json={"instances": []}, headers=FROM_CLIENT
            )
            assert answer.status == 200
    assert seen == [FROM_CLIENT["traceparent"]]


async def test_an_answer_that_streams_is_a_span_until_its_end(collector: Collector) -> None:
    more = asyncio.Event()

    async def pieces() -> Any:
        yield b"one"
        await more.wait()
        yield b"two"

    async def stream(_: http.Request) -> StreamedResponse:
        return StreamedResponse(pieces())

    async with tracing.opened() as tracer:
        assert tracer is not None
        async with (
            http.listening(tracing.traced(stream, tracer)) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
            client.post("/openai/v1/completions", headers=FROM_CLIENT) as answer,
        ):
            assert await answer.content.readany() == b"one"
            assert collector.spans() == []
            more.set()
            assert await answer.content.read() == b"two"
    span = only(collector.spans(), "POST /openai/v1/completions")
    assert list(span.events) == ["first piece"]


@contextlib.asynccontextmanager
async def gateway(
    tmp_path: Path, predictor: int, transformer: int = 0, **more: Any
) -> AsyncIterator[tuple[Serving, int]]:
    """The gateway's port, with the service ``double`` behind it."""
    async with running_serving(tmp_path) as serving:
        spec = {"predictor": {**container(predictor), **more}}
        parts = ["predictor"]
        if transformer:
            spec["transformer"] = container(transformer)
            parts.append("transformer")
        await serving.service("double", **spec)
        for part in parts:
            await serving.start(f"double-{part}-00001")
        await serving.until(INFERENCE_SERVICES, "double", is_ready)
        async with front_door(serving.context) as port:
            yield serving, port


def container(port: int) -> dict[str, Any]:
    return {"containers": [{"image": "mine", "ports": [{"containerPort": port}]}]}


async def until(collector: Collector, count: int) -> list[Collected]:
    return await asyncio.to_thread(
        collector.until, lambda spans: len([s for s in spans if s.trace == TRACE]) >= count
    )


@pytest.mark.usefixtures("predictor")
async def test_one_trace_leads_from_the_client_through_a_graph_to_the_model(
    collector: Collector, tmp_path: Path
) -> None:
    transformer = Model("double")
    transformer.load()
    async with (
        server(Doubler()) as (_, predictor_port, __),
        server(transformer) as (_, transformer_port, __),
        gateway(tmp_path, predictor_port, transformer_port) as (serving, port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        set_predictor(PredictorConfig(f"127.0.0.1:{predictor_port}"))
        steps = [{"name": "only", "serviceName": "double"}]
        spec = {"nodes": {"root": {"routerType": "Sequence", "steps": steps}}}
        await serving.gateway()
        graph_object = new_object(INFERENCE_GRAPHS, "g", "default", spec=spec)
        await serving.apply(INFERENCE_GRAPHS, graph_object)
        await serving.until(INFERENCE_GRAPHS, "g", is_ready)
        answer = await client.post(
            "/serving/default/g", json={"instances": [[1, 2]]}, headers=FROM_CLIENT
        )
        assert await answer.json() == {"predictions": [6.0]}
        spans = [s for s in await until(collector, 10) if s.trace == TRACE]
    graph = only(spans, "POST", parent=CLIENT)
    assert graph.service == "kubeling-inference-gateway"
    assert graph.attributes["kubeling.inferencegraph"] == "g"
    step = only(spans, "step root/only", parent=graph.id, kind="client")
    request = only(spans, "POST /v1/models/{model}:predict", parent=step.id)
    assert request.attributes["kubeling.inferenceservice"] == "double"
    asked = only(spans, "POST", parent=request.id, kind="client")
    assert asked.attributes["kubeling.revision"] == "double-predictor-00001"
    assert asked.attributes["server.port"] == transformer_port
    first = only(spans, "POST /v1/models/{model}:predict", parent=asked.id, service="model-server")
    step = only(spans, "predict", parent=first.id)
    second_asked = only(spans, "POST", parent=step.id, kind="client")
    assert second_asked.attributes["server.port"] == predictor_port
    second = only(spans, "POST /v1/models/{model}:predict", parent=second_asked.id)
    only(spans, "predict", parent=second.id)
    assert {s.state for s in spans} == {"vendor=x"}
    assert not any(s.failed for s in spans)
    assert all(s.attributes.get("http.response.status_code", 200) == 200 for s in spans)


async def test_the_agent_in_front_of_a_container_is_a_span(collector: Collector) -> None:
    async with server(Doubler()) as (_, rest, __), tracing.opened() as tracer:
        agent = Agent(f"http://127.0.0.1:{rest}", Duties())
        agent.tracer = tracer
        async with TestClient(TestServer(create_app(agent))) as client:
            body = {"instances": [[1, 2]]}
            path = "/v1/models/double:predict"
            assert (await client.post(path, json=body, headers=FROM_CLIENT)).status == 200
        spans = [s for s in await until(collector, 4) if s.trace == TRACE]
    title = "POST /v1/models/{model}:predict"
    agents = only(spans, title, parent=CLIENT)
    assert agents.attributes["kubeling.component"] == "agent"
    only(spans, title, parent=agents.id)


@contextlib.asynccontextmanager
async def gateway_of_calls(tmp_path: Path, rest: int, grpc: int) -> AsyncIterator[int]:
    """The gateway's port, with a pod behind it that has a port for gRPC."""
    ports = [{"name": "http1", "containerPort": rest}, {"name": "h2c", "containerPort": grpc}]
    async with gateway(tmp_path, rest) as (serving, port):
        await serving.service(
            "double", predictor={"containers": [{"image": "mine", "ports": ports}]}
        )
        await serving.start("double-predictor-00002")
        await serving.until(INFERENCE_SERVICES, "double", is_ready)
        yield port


async def test_a_call_of_grpc_goes_through_the_gateway_in_one_trace(
    collector: Collector, tmp_path: Path
) -> None:
    async with (
        server(Doubler()) as (_, rest, grpc),
        gateway_of_calls(tmp_path, rest, grpc) as port,
    ):
        metadata = {**FROM_CLIENT, "x-forwarded-host": "double-default.example.com"}
        request = m.ModelInferRequest("double", inputs=[ROWS])
        await call(f"127.0.0.1:{port}", methods.MODEL_INFER, request, metadata=metadata)
        spans = [s for s in await until(collector, 5) if s.trace == TRACE]
    title = "inference.GRPCInferenceService/ModelInfer"
    request_span = only(spans, title, parent=CLIENT, kind="server")
    assert request_span.attributes["kubeling.inferenceservice"] == "double"
    asked = only(spans, title, parent=request_span.id, kind="client")
    assert asked.attributes["rpc.response.status_code"] == "OK"
    assert asked.attributes["server.port"] == grpc
    only(spans, title, parent=asked.id, service="model-server")


async def test_a_call_whose_time_is_over_says_so_and_not_that_its_client_left(
    collector: Collector, tmp_path: Path
) -> None:
    path = "inference.GRPCInferenceService/ModelInfer"
    headers = [
        *((":method", "POST"), (":scheme", "http"), (":path", f"/{path}")),
        *((":authority", "double-default.example.com"), ("content-type", "application/grpc")),
        *(("grpc-timeout", "500m"), ("traceparent", FROM_CLIENT["traceparent"])),
    ]
    h2 = H2Connection()
    h2.initiate_connection()
    h2.send_headers(1, headers)
    async with (
        server(Doubler()) as (_, rest, grpc),
        gateway_of_calls(tmp_path, rest, grpc) as port,
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(h2.data_to_send())
        spans = await asyncio.to_thread(
            collector.until, lambda spans: any(s.parent == CLIENT for s in spans)
        )
        writer.close()
    found = only(spans, path, parent=CLIENT)
    assert found.attributes["rpc.response.status_code"] == "DEADLINE_EXCEEDED"


async def test_what_was_sent_again_is_seen_and_a_failure_is_found_in_the_log(
    collector: Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def break_off(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    pod = await asyncio.start_server(break_off, "127.0.0.1")
    async with (
        pod,
        gateway(tmp_path, pod.sockets[0].getsockname()[1]) as (_, port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}/serving/default/double/") as client,
    ):
        for path in ("v1/models/double:predict?key=hush", "other"):
            headers = {**FROM_CLIENT, "x-request-id": "r1", "authorization": "Bearer hush"}
            answer = await client.post(path, data=b"hush", headers=headers)
            assert answer.status == 502
        spans = [s for s in await until(collector, 4) if s.trace == TRACE]
    request = only(spans, "POST /v1/models/{model}:predict", parent=CLIENT)
    assert request.failed
    assert request.attributes["http.response.status_code"] == 502
    asked = [s for s in spans if s.parent == request.id and s.kind == "client"]
    assert asked
    assert all(s.failed for s in asked)
    said = [r.getMessage() for r in caplog.records if "trace" in r.getMessage()]
    assert len(said) == 2
    assert said[0].startswith("POST /v1/models/double:predict of default/double: 502")
    assert said[0].endswith(f"request r1; trace {TRACE}")
    assert "hush" not in caplog.text + str(spans)


@pytest.mark.usefixtures("collector")
async def test_what_belongs_to_no_trace_does_not_go_on_with_a_new_one(tmp_path: Path) -> None:
    seen: list[tuple[str | None, str | None]] = []

    async def look(request: http.Request) -> http.Response:
        seen.append((request.headers.get("traceparent"), request.headers.get("tracestate")))
        return http.json_response({})

    async def pieces() -> AsyncIterator[bytes]:
        yield b"{}"

    async with (
        http.listening(look) as pod,
        gateway(tmp_path, pod) as (_, port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}/serving/default/double/") as client,
    ):
        headers = {"traceparent": "nonsense", "tracestate": "vendor=x"}
        # What has no length goes the long way.
        for data in (b"{}", pieces()):
            await client.post("v1/models/double:predict", data=data, headers=headers)
    assert [state for _, state in seen] == [None, None]
    assert all(parent and parent.startswith("00-") for parent, _ in seen)


async def test_a_header_that_is_no_text_is_no_trouble_for_who_sends_spans(
    collector: Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"GET /serving/default/double/v1/models/double HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    async with server(Doubler()) as (_, rest, __), gateway(tmp_path, rest) as (___, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        # What wants its connection to be more than kept goes the long way.
        writer.write(head + b"Connection: keep-alive, x\r\nX-Request-Id: a\xff\r\n\r\n")
        assert b" 200 " in await reader.readline()
        spans = await asyncio.to_thread(
            collector.until, lambda spans: any(s.kind == "server" for s in spans)
        )
        writer.close()
    request = only(spans, "GET /v1/models/{model}", kind="server")
    assert "a?" in str(request.attributes["http.request.header.x-request-id"])
    assert "Failed to encode" not in caplog.text


async def test_the_wait_for_a_pod_is_a_span(collector: Collector, tmp_path: Path) -> None:
    asked, free = asyncio.Event(), asyncio.Event()

    async def one_at_a_time(_: http.Request) -> http.Response:
        asked.set()
        await free.wait()
        return http.json_response({"predictions": []})

    async with (
        http.listening(one_at_a_time) as pod,
        gateway(tmp_path, pod, containerConcurrency=1) as (serving, port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}/serving/default/double/") as client,
    ):
        path = "v1/models/double:predict"
        first = asyncio.create_task(client.post(path, json={}))
        await asked.wait()
        second = asyncio.create_task(client.post(path, json={}, headers=FROM_CLIENT))
        counts = gateway_of(serving.context).counts
        while counts.demand(Key("default", "double"), 1).in_flight < 2:
            await client.get("/api/serving/default/double/traffic")
        free.set()
        assert [(await one).status for one in (first, second)] == [200, 200]
        spans = [s for s in await until(collector, 3) if s.trace == TRACE]
    request = only(spans, "POST /v1/models/{model}:predict", parent=CLIENT)
    assert only(spans, "wait for a pod", parent=request.id).nanoseconds > 0


async def test_without_a_collector_there_are_no_spans_and_clients_traces_go_through(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str | None] = []

    async def look(request: http.Request) -> http.Response:
        seen.append(request.headers.get("traceparent"))
        return http.json_response({"error": "sorry"}, 500)

    async with (
        http.listening(look) as pod,
        gateway(tmp_path, pod) as (serving, port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}/serving/default/double/") as client,
    ):
        assert gateway_of(serving.context).delivery.tracer is None
        await client.post("v1/models/double:predict", json={}, headers=FROM_CLIENT)
        await client.post("v1/models/double:predict", json={})
    assert seen == [FROM_CLIENT["traceparent"], None]
    assert f"500 from double-predictor-00001; trace {TRACE}" in caplog.text


async def test_a_server_process_sends_its_spans_when_it_is_stopped(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    port = free_port()
    script = (
        "from tests.serving.model_server import Doubler\n"
        "from kubeling.serving.server.run import ServerSettings, serve\n"
        f"serve([Doubler()], ServerSettings('127.0.0.1', {port}))\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as client:
            url = f"http://127.0.0.1:{port}/v1/models/double:predict"
            while True:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    async with client.post(url, json={"instances": [[1, 2]]}) as answer:
                        assert answer.status == 200
                    break
                await asyncio.sleep(0.05)
    finally:
        process.terminate()
        await process.wait()
    assert collector.spans(kind="server", service="model-server")
