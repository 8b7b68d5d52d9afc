"""gRPC to served models, at the gateway's port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from grpclib.client import Channel, StreamStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality, Status
from grpclib.const import Handler as Route
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream
from tests.serving.model_server import Doubler
from tests.serving.platform import Serving, front_door, is_ready, running_serving, traffic
from tests.support.client_python import python_with

from kubeling.kube.resources import SERVICES
from kubeling.serving.gateway.delivery import Delivery
from kubeling.serving.gateway.grpc.requests import CallRequest
from kubeling.serving.gateway.grpc.status import code_of
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.server.dataplane import DataPlane
from kubeling.serving.server.grpc.service import answering
from kubeling.serving.server.repository import ModelRepository

CLIENTS = Path(__file__).parent / "clients"
HOST = "m-default.example.com"
ECHO = "/test.Test/Echo"
INFER = "/inference.GRPCInferenceService/ModelInfer"


class Raw(CodecBase):
    """Messages are bytes."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


Answer = Callable[[Stream[bytes, bytes]], Awaitable[None]]


class Answers:
    """A service whose methods are functions of a stream."""

    def __init__(self, methods: Mapping[str, Answer]) -> None:
        self._methods = methods

    def __mapping__(self) -> Mapping[str, Route]:
        return {
            path: Route(answer, Cardinality.STREAM_STREAM, bytes, bytes)
            for path, answer in self._methods.items()
        }


@contextlib.asynccontextmanager
async def pod(methods: Mapping[str, Answer]) -> AsyncIterator[int]:
    """A pod's process that speaks gRPC; gives its port."""
    server = Server([Answers(methods)], codec=Raw())
    listening = socket.create_server(("127.0.0.1", 0))
    await server.start(sock=listening)
    try:
        yield int(listening.getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()


async def echo(stream: Stream[bytes, bytes]) -> None:
    """Answers each message with itself, as it comes."""
    async for message in stream:
        await stream.send_message(message)


async def seen(stream: Stream[bytes, bytes]) -> None:
    """Answers with the metadata."""
    await stream.recv_message()
    found = {k: v for k, v in (stream.metadata or {}).items() if isinstance(v, str)}
    await stream.send_message(json.dumps(found).encode())


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with running_serving(tmp_path) as found:
        yield found


@pytest.fixture
async def port(serving: Serving) -> AsyncIterator[int]:
    """The gateway's, for HTTP/1 and HTTP/2."""
    async with front_door(serving.context) as found:
        yield found


async def serve(serving: Serving, version: str, number: int, port: int, **more: Any) -> None:
    """Rolls out a revision whose pod speaks gRPC at a port."""
    container = {
        "image": "mine",
        "env": [{"name": "VERSION", "value": version}],
        "ports": [{"name": "h2c", "containerPort": port}],
    }
    await serving.service("m", predictor={"containers": [container], **more})
    await serving.start(f"m-predictor-{number:05d}")
    await serving.until(INFERENCE_SERVICES, "m", is_ready)


@contextlib.contextmanager
def channel(port: int, host: str = HOST) -> Any:
    """A client that calls the gateway by the name of a host."""
    with contextlib.closing(Channel("127.0.0.1", port, codec=Raw())) as found:
        found._authority = host  # grpclib has no option for it
        yield found


async def ask(channel: Channel, message: bytes = b"x", path: str = ECHO, **options: Any) -> bytes:
    found: bytes = await UnaryUnaryMethod(channel, path, bytes, bytes)(message, **options)
    return found


@pytest.mark.parametrize("host", [HOST, "M.default", "m.default.svc.cluster.local:80"])
async def test_a_call_goes_to_the_service_of_its_authority(
    serving: Serving, port: int, host: str
) -> None:
    async with pod({ECHO: echo}) as at:
        await serve(serving, "1", 1, at)
        with channel(port, host) as calls:
            assert await ask(calls, b"hello") == b"hello"


async def test_where_a_service_speaks_grpc_is_in_its_status(serving: Serving) -> None:
    await serve(serving, "1", 1, 9000)
    isvc = await serving.exists(INFERENCE_SERVICES, "m")
    shown = isvc["status"]["components"]["predictor"]
    assert shown["grpcUrl"] == "grpc://m-predictor-default.example.com"
    ports = (await serving.exists(SERVICES, "m-predictor"))["spec"]["ports"]
    assert ports[0]["appProtocol"] == "kubernetes.io/h2c"


async def test_metadata_or_the_path_say_it_where_the_authority_cannot(
    serving: Serving, port: int
) -> None:
    async with pod({ECHO: echo}) as at:
        await serve(serving, "1", 1, at)
        with channel(port, "127.0.0.1") as calls:
            assert await ask(calls, b"1", metadata={"x-forwarded-host": HOST}) == b"1"
            assert await ask(calls, b"2", f"/serving/default/m{ECHO}") == b"2"
            assert await ask(calls, b"3", f"/serving/def%61ult/m{ECHO}") == b"3"
            with pytest.raises(GRPCError, match=r"no InferenceService is called 127.0.0.1: make"):
                await ask(calls)


async def test_messages_stream_both_ways_however_large(serving: Serving, port: int) -> None:
    large = bytes(3 << 20)
    async with pod({ECHO: echo}) as at:
        await serve(serving, "1", 1, at)
        with channel(port) as calls:
            method = StreamStreamMethod(calls, ECHO, bytes, bytes)
            async with method.open() as stream:
                for message in (b"one", large, b"", b"two"):
                    await stream.send_message(message)
                    assert await stream.recv_message() == message
                await stream.end()
                assert await stream.recv_message() is None


async def test_what_ends_a_call_is_passed_on_and_counted(serving: Serving, port: int) -> None:
    async def refuse(stream: Stream[bytes, bytes]) -> None:
        await stream.send_trailing_metadata(
            status=Status.INVALID_ARGUMENT, status_message="nö", metadata={"why": "so"}
        )

    async with pod({ECHO: echo, "/test.Test/Refuse": refuse}) as at:
        await serve(serving, "1", 1, at)
        with channel(port) as calls:
            await ask(calls)
            with pytest.raises(GRPCError) as error:
                await ask(calls, path="/test.Test/Refuse")
        assert (error.value.status, error.value.message) == (Status.INVALID_ARGUMENT, "nö")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            counted = await (await http.get("/api/serving/default/m/traffic")).json()
    assert counted["revisions"]["m-predictor-00001"]["statuses"] == {"200": 1, "400": 1}


async def test_metadata_goes_along_and_the_deadline_with_it(serving: Serving, port: int) -> None:
    async with pod({"/test.Test/Seen": seen}) as at:
        await serve(serving, "1", 1, at)
        with channel(port) as calls:
            given = {"traceparent": "00-1-2-01", "authorization": "Bearer x"}
            more = {"x-forwarded-for": "10.0.0.1"}
            text = await ask(calls, path="/test.Test/Seen", timeout=30, metadata=given | more)
    assert given.items() <= json.loads(text).items()
    assert json.loads(text)["x-forwarded-for"] == "10.0.0.1, 127.0.0.1"
    assert json.loads(text)["x-forwarded-host"] == HOST


async def test_a_call_ends_at_the_clients_deadline_and_at_the_services(
    serving: Serving, port: int
) -> None:
    cancelled = asyncio.Semaphore(0)

    async def hang(stream: Stream[bytes, bytes]) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.release()

    async with pod({ECHO: hang}) as at:
        await serve(serving, "1", 1, at, timeout=1)
        with channel(port) as calls:
            with pytest.raises(asyncio.TimeoutError):
                await ask(calls, timeout=0.2)
            with pytest.raises(GRPCError, match="did not answer within 1 s") as error:
                await ask(calls)
        assert error.value.status is Status.DEADLINE_EXCEEDED
        async with asyncio.timeout(10):
            await cancelled.acquire()
            await cancelled.acquire()


async def test_a_canary_gets_its_share_of_calls(serving: Serving, port: int) -> None:
    def named(title: bytes) -> Answer:
        async def answer(stream: Stream[bytes, bytes]) -> None:
            await stream.recv_message()
            await stream.send_message(title)

        return answer

    async with pod({ECHO: named(b"old")}) as old, pod({ECHO: named(b"new")}) as new:
        await serve(serving, "1", 1, old)
        await serve(serving, "2", 2, new, canaryTrafficPercent=10)
        await serving.until(INFERENCE_SERVICES, "m", lambda o: len(traffic(o)) == 2)
        with channel(port) as calls:
            answers = Counter([await ask(calls) for _ in range(20)])
    assert answers == {b"old": 18, b"new": 2}


async def test_a_call_that_only_computes_goes_to_another_pod_if_its_own_dies(
    serving: Serving, port: int
) -> None:
    asked = 0

    async def die(stream: Stream[bytes, bytes]) -> None:
        nonlocal asked
        asked += 1
        await stream.recv_message()
        await stream.cancel()

    methods = {INFER: die, ECHO: die}
    async with pod(methods) as bad, pod({INFER: echo, ECHO: echo}) as good:
        await serve(serving, "1", 1, bad)
        await serve(serving, "2", 2, good, canaryTrafficPercent=1)
        await serving.until(INFERENCE_SERVICES, "m", lambda o: len(traffic(o)) == 2)
        with channel(port) as calls:
            assert await ask(calls, b"1", INFER) == b"1"
            assert asked == 1
            with pytest.raises(GRPCError, match="m-predictor-00001 broke off"):
                await ask(calls, b"2", ECHO, metadata={})


async def test_a_pod_that_is_gone_is_passed_over(serving: Serving, port: int) -> None:
    async with pod({ECHO: echo}) as good:
        async with pod({ECHO: echo}) as gone:
            await serve(serving, "1", 1, gone)
            await serve(serving, "2", 2, good, canaryTrafficPercent=50)
            await serving.until(INFERENCE_SERVICES, "m", lambda o: len(traffic(o)) == 2)
        with channel(port) as calls:
            assert [await ask(calls) for _ in range(4)] == [b"x"] * 4


async def test_a_service_without_grpc_says_where_it_was_asked(serving: Serving, port: int) -> None:
    async with pod({ECHO: echo}) as gone:
        pass
    await serve(serving, "1", 1, gone)
    said = f"m-predictor-00001 does not answer gRPC at 127.0.0.1:{gone}"
    with channel(port) as calls, pytest.raises(GRPCError, match=said) as error:
        await ask(calls)
    assert error.value.status is Status.UNAVAILABLE


async def test_an_unknown_service_is_unimplemented(serving: Serving, port: int) -> None:
    with channel(port, "x-default.example.com") as calls, pytest.raises(GRPCError) as error:
        await ask(calls)
    assert error.value.status is Status.UNIMPLEMENTED


async def test_a_call_over_which_the_gateway_fails_ends(
    serving: Serving, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pod({ECHO: echo}) as model:
        await serve(serving, "1", 1, model)
        monkeypatch.setattr(Delivery, "deliver", Mock(side_effect=KeyError("lost")))
        with channel(port) as calls, pytest.raises(GRPCError, match="the gateway failed") as error:
            await ask(calls)
    assert error.value.status is Status.INTERNAL


async def test_http_1_has_the_same_port(serving: Serving, port: int) -> None:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    server = TestServer(app)
    await server.start_server()
    await serve(serving, "1", 1, server.port or 0)
    async with aiohttp.ClientSession() as http:
        for _ in range(2):
            answer = await http.get(f"http://127.0.0.1:{port}/", headers={"Host": HOST})
            assert await answer.text() == "hello"
    await server.close()


async def run_client(file: str, requirement: str, *arguments: str) -> Any:
    python = await asyncio.to_thread(python_with, *requirement.split())
    process = await asyncio.create_subprocess_exec(
        str(python),
        str(CLIENTS / file),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out.decode().splitlines()[-1])


@pytest.mark.e2e
async def test_the_clients_of_kserve_and_triton_work_unmodified(
    serving: Serving, port: int
) -> None:
    async with answering(DataPlane(ModelRepository([Doubler()]))) as grpc:
        await serve(serving, "1", 1, grpc)
        kserve, triton = "kserve==0.21.0 kubernetes<36 pytest", "tritonclient[http,grpc]==2.73.0"
        found = await run_client("gateway_client.py", kserve, "kserve", str(port), HOST)
        assert found == {"ready": True, "infer": [6.0, 14.0], "by metadata": [6.0, 14.0]}
        found = await run_client("gateway_client.py", triton, "triton", str(port), HOST)
        assert found == {"ready": True, "infer": [6.0, 14.0], "by metadata": [6.0, 14.0]}


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (b"250m", 0.25),
        (b"99999999H", 99_999_999 * 3600.0),
        (b"123456789S", None),
        (b"9" * 5000 + b"S", None),
        (b"\xb2S", None),
        (b"S", None),
        (b"", None),
    ],
)
def test_what_is_no_timeout_is_none(said: bytes, seconds: float | None) -> None:
    assert CallRequest.of([(b"grpc-timeout", said)]).timeout == seconds


def test_a_status_that_is_no_number_is_an_unknown_one() -> None:
    for said, code in ((b"5", 5), (b"-1", 2), (b"9" * 5000, 2)):
        assert code_of([(b"grpc-status", said)]) == code
