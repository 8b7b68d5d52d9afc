"""What clients may do on a connection that has asked for a model, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.serving.platform import Serving, front_door, is_ready, running_serving

from kubeling.kube.objects import new_object
from kubeling.kube.resources import ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS
from kubeling.serving.gateway.delivery import Delivery
from kubeling.serving.gateway.entry import gateway_of
from kubeling.serving.gateway.http1.client import ClientConnection, ShortWay
from kubeling.serving.gateway.http1.exchange import Exchange
from kubeling.serving.resources import INFERENCE_SERVICES

HOST = "Host: m-default.example.com"


async def echo(request: web.Request) -> web.Response:
    body = (await request.read()).decode()
    return web.Response(text=f"{request.method} {request.raw_path} {body}")


async def passed_by(request: web.Request) -> web.Response:
    """Who has passed the request on, header by header."""
    return web.json_response(request.headers.getall("X-Forwarded-For"))


async def count(request: web.Request) -> web.StreamResponse:
    """An answer of a length that is not known beforehand."""
    response = web.StreamResponse()
    await response.prepare(request)
    for number in range(3):
        await response.write(f"{number}".encode())
    return response


@dataclass
class Large:
    """Answers of some size, and how many were given."""

    size: int = 30_000
    given: int = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.given += 1
        return web.Response(body=b"x" * self.size)


@dataclass
class Wire:
    """A connection to the gateway."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *lines: str, body: str = "") -> None:
        self.writer.write("\r\n".join([*lines, "", body]).encode())
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], str]:
        """A status, headers and body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        found = dict(line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in found.items()}
        if headers.get("transfer-encoding") == "chunked":
            return int(head[0].split()[1]), headers, await self._chunks()
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, body.decode()

    async def _chunks(self) -> str:
        found = ""
        while size := int(await self.reader.readline(), 16):
            found += (await self.reader.readexactly(size + 2))[:-2].decode()
        await self.reader.readline()
        return found


@dataclass
class Scripted:
    """A pod's port where each path is answered by bytes, sent piece by piece."""

    said: dict[str, list[bytes]]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                for piece in self.said[head.split()[1].decode()]:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.01)  # or both would arrive as one
        writer.close()


@contextlib.asynccontextmanager
async def scripted(tmp_path: Path, said: dict[str, list[bytes]]) -> AsyncIterator[int]:
    """The gateway's port before a pod that says this."""
    pod = await asyncio.start_server(Scripted(said).answer, "127.0.0.1", 0)
    async with running_serving(tmp_path) as serving, pod:
        await _serve(serving, pod.sockets[0].getsockname()[1])
        async with front_door(serving.context) as port:
            yield port


@pytest.fixture
def large() -> Large:
    return Large()


@pytest.fixture
async def port(tmp_path: Path, large: Large) -> AsyncIterator[int]:
    """The gateway's, with the service ``m`` behind it."""
    app = web.Application()
    app.router.add_route("*", "/count", count)
    app.router.add_route("*", "/passed-by", passed_by)
    app.router.add_route("*", "/large", large.answer)
    app.router.add_route("*", "/{tail:.*}", echo)
    async with running_serving(tmp_path) as serving, TestServer(app) as server:
        await _serve(serving, server.port or 0)
        async with front_door(serving.context) as found:
            yield found


async def _serve(serving: Serving, port: int) -> None:
    container = {"image": "mine", "ports": [{"containerPort": port}]}
    await serving.service("m", predictor={"containers": [container]})
    await serving.start("m-predictor-00001")
    await serving.until(INFERENCE_SERVICES, "m", is_ready)


@pytest.fixture
async def wire(port: int) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield Wire(reader, writer)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_requests_are_answered_in_turn_however_they_arrive(wire: Wire) -> None:
    for number in range(3):
        await wire.send(f"POST /{number} HTTP/1.1", HOST, "Content-Length: 2", body="hi")
    for number in range(3):
        status, headers, text = await wire.answer()
        assert (status, text) == (200, f"POST /{number} hi")
        assert headers["x-kubeling-revision"] == "m-predictor-00001"
    for piece in ("POST /x HTTP/1.1\r\n" + HOST, "\r\nContent-Length: 4\r\n\r\nab", "cd"):
        wire.writer.write(piece.encode())
        await wire.writer.drain()
        await asyncio.sleep(0)
    assert (await wire.answer())[2] == "POST /x abcd"


async def test_a_request_over_which_the_gateway_fails_ends(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Delivery, "place", lambda *_: None)
    monkeypatch.setattr(Delivery, "deliver", Mock(side_effect=KeyError("lost")))
    await wire.send("GET /a HTTP/1.1", HOST)
    async with asyncio.timeout(30):
        assert await wire.reader.read() == b""


async def test_a_connection_may_go_on_to_the_rest_of_the_platform(wire: Wire) -> None:
    await wire.send("GET /a HTTP/1.1", HOST)
    assert (await wire.answer())[2] == "GET /a "
    await wire.send("GET /healthz HTTP/1.1", "Host: 127.0.0.1")
    assert (await wire.answer())[2] == "ok"
    await wire.send("GET /b HTTP/1.1", HOST)
    assert (await wire.answer())[2] == "GET /b "


@pytest.mark.parametrize(
    ("lines", "body", "answer"),
    [
        (("HEAD /h HTTP/1.1",), "", ""),
        (("POST /c HTTP/1.1", "Transfer-Encoding: chunked"), "2\r\nhi\r\n0\r\n\r\n", "POST /c hi"),
        (("GET /o HTTP/1.1", "Connection: keep-alive, foo", "Foo: 1"), "", "GET /o "),
        (("GET http://m-default.example.com/a?b=1 HTTP/1.1",), "", "GET /a?b=1 "),
        (("GET http://m-default.example.com HTTP/1.1",), "", "GET / "),
        (("OPTIONS * HTTP/1.1",), "", "OPTIONS / "),
    ],
)
async def test_what_is_not_simple_is_answered_as_well(
    wire: Wire, lines: tuple[str, ...], body: str, answer: str
) -> None:
    await wire.send("GET /first HTTP/1.1", HOST)
    await wire.answer()
    await wire.send(*lines, HOST, body=body)
    if lines[0].startswith("HEAD"):
        assert (await wire.reader.readline()).split()[1] == b"200"
        return
    status, _, text = await wire.answer()
    assert (status, text) == (200, answer)


async def test_an_answer_of_unknown_length_is_passed_on_whole(wire: Wire) -> None:
    for _ in range(2):
        await wire.send("GET /count HTTP/1.1", HOST)
        assert (await wire.answer())[2] == "012"


async def test_a_client_that_wants_no_more_is_let_go(wire: Wire) -> None:
    await wire.send("GET /a HTTP/1.1", HOST, "Connection: close")
    status, headers, _ = await wire.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert await wire.reader.read() == b""


async def test_paths_are_for_this_machines_names_only(wire: Wire) -> None:
    path = "GET /serving/default/m/v1 HTTP/1.1"
    await wire.send(path, "Host: 127.0.0.1:8080")
    assert (await wire.answer())[2] == "GET /v1 "
    await wire.send(path, "Host: evil.example")
    assert (await wire.answer())[0] == 421


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/serving/default/m/v1/%6D%2Fn/../o//p?q=%41&r=a+b?", "/v1/%6D%2Fn/../o//p?q=%41&r=a+b?"),
        ("/serving/def%61ult/%6D/v1%20?", "/v1%20?"),
        ("/serving/default/m?a=/b", "/?a=/b"),
        ("/serving/default/m", "/"),
        ("http://127.0.0.1/serving/default/m/v1?x=/", "/v1?x=/"),
    ],
)
async def test_a_path_arrives_as_it_was_written(wire: Wire, asked: str, path: str) -> None:
    """By either way: a body of unknown length takes the long one."""
    for more, body in (("Content-Length: 1", "x"), ("Transfer-Encoding: chunked", CHUNKED)):
        await wire.send(f"POST {asked} HTTP/1.1", "Host: 127.0.0.1", more, body=body)
        assert (await wire.answer())[2] == f"POST {path} x"


CHUNKED = "1\r\nx\r\n0\r\n\r\n"


@pytest.mark.parametrize("name", ["a%2Fm", "default%2Fm", "default/%252Fm", "default/m%2F.."])
async def test_a_name_is_unquoted_once(wire: Wire, name: str) -> None:
    await wire.send(f"GET /serving/{name}/v1 HTTP/1.1", "Host: 127.0.0.1")
    assert (await wire.answer())[0] == 404


async def test_all_who_passed_a_request_on_are_named(wire: Wire) -> None:
    before = ("X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 10.0.0.2, 10.0.0.3")
    for more, body in (("Content-Length: 1", "x"), ("Transfer-Encoding: chunked", CHUNKED)):
        await wire.send("POST /passed-by HTTP/1.1", HOST, *before, more, body=body)
        assert (await wire.answer())[2] == '["10.0.0.1, 10.0.0.2, 10.0.0.3, 127.0.0.1"]'


async def test_a_client_that_does_not_read_holds_up_nobody_but_itself(
    wire: Wire, port: int, large: Large
) -> None:
    asked = 300
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        deaf.connect(("127.0.0.1", port))
        for _ in range(asked):
            deaf.sendall(f"GET /large HTTP/1.1\r\n{HOST}\r\n\r\n".encode())
            for number in range(3):
                await wire.send(f"GET /{number} HTTP/1.1", HOST)
                async with asyncio.timeout(30):
                    assert (await wire.answer())[2] == f"GET /{number} "
        deaf.setblocking(False)
        assert large.given < asked
        reader, writer = await asyncio.open_connection(sock=deaf)
        for _ in range(asked):
            assert len((await Wire(reader, writer).answer())[2]) == large.size
        assert large.given == asked
        writer.close()


@pytest.mark.parametrize(
    "lines",
    [
        ("GET /a b HTTP/1.1", HOST),
        ("POST /a HTTP/1.1", HOST, "Content-Length: 1", "Content-Length: 2"),
        ("GET /a HTTP/1.1", HOST, "Bad Header: x"),
        ("GET /a HTTP/1.1", "Host:", HOST),
        ("GET /a HTTP/1.1", HOST, "Host: elsewhere.example.com"),
    ],
)
async def test_what_is_not_http_is_refused(wire: Wire, lines: tuple[str, ...]) -> None:
    await wire.send("GET /first HTTP/1.1", HOST)
    await wire.answer()
    await wire.send(*lines)
    assert (await wire.answer())[0] == 400


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


async def test_answers_are_read_alike_whether_their_head_is_known_or_not(tmp_path: Path) -> None:
    said = {
        "/whole": [OK + b"hi"],
        "/halves": [OK, b"ho"],
        "/short": [OK + b"h", b"a"],
        "/interim": [b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"hu"],
        "/empty": [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n"],
    }
    async with scripted(tmp_path, said) as port:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
        for _ in range(3):
            for path, body in (
                ("/whole", "hi"),
                ("/halves", "ho"),
                ("/whole", "hi"),
                ("/short", "ha"),
                ("/interim", "hu"),
            ):
                await wire.send(f"GET {path} HTTP/1.1", HOST)
                assert (await wire.answer())[2] == body
            await wire.send("GET /empty HTTP/1.1", HOST)
            head = await wire.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 304 ")
        wire.writer.close()


async def test_what_a_pod_says_to_whom_it_is_connected_to_is_not_passed_on(tmp_path: Path) -> None:
    named = b"Connection: keep-alive, X-Own\r\nX-Own: 1\r\nX-Told: 2\r\nContent-Length: 2\r\n\r\nhi"
    said = {"/named": [b"HTTP/1.1 200 OK\r\n" + named]}
    async with scripted(tmp_path, said) as port:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
        for _ in range(3):
            await wire.send("GET /named HTTP/1.1", HOST)
            _, headers, body = await wire.answer()
            assert (headers["x-told"], body) == ("2", "hi")
            assert "x-own" not in headers
        wire.writer.close()


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(OK + b"hiHTTP/1.1 200 OK\r\n\r\n", id="more than it says"),
        pytest.param(
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nhi", id="a body where none is"
        ),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"hihi", id="after a hint"),
    ],
)
async def test_an_answer_that_lies_about_its_length_says_nothing_of_the_next(
    tmp_path: Path, lie: bytes
) -> None:
    async with scripted(tmp_path, {"/lie": [lie], "/whole": [OK + b"ok"]}) as port:
        for _ in range(3):
            wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
            await wire.send("GET /lie HTTP/1.1", HOST)
            await wire.send("GET /whole HTTP/1.1", HOST)
            heard = await asyncio.wait_for(wire.reader.read(1 << 16), 10)
            while not heard.endswith(b"ok"):
                more = await asyncio.wait_for(wire.reader.read(1 << 16), 10)
                assert more, heard
                heard += more
            assert heard.count(b"x-kubeling-revision: ") == 2
            assert heard.count(b"hi") <= (0 if lie.startswith(b"HTTP/1.1 304") else 1)
            wire.writer.close()


class Asker:
    """A client without a socket, which can take no more as soon as something comes, if ``full``."""

    origin = b"127.0.0.1\r\n\r\n"
    closes = False

    def __init__(self, way: ShortWay, *, full: bool) -> None:
        asked = way.asked(f"GET /whole HTTP/1.1\r\n{HOST}\r\n\r\n".encode())
        assert asked is not None
        self._exchange = Exchange(self, asked, b"", way.delivery, way.pods)
        self._full = full
        self._heard = b""
        self._over = asyncio.Event()

    async def ask(self) -> bytes:
        self._exchange.start()
        await asyncio.wait_for(self._over.wait(), 10)
        return self._heard

    def write(self, data: bytes) -> None:
        self._heard += data
        if self._full:
            self._exchange.pause(True)

    def answered(self) -> None:
        self._over.set()

    def abort(self) -> None:
        self._over.set()


async def test_a_client_that_takes_no_more_does_not_stop_who_is_next(tmp_path: Path) -> None:
    pod = await asyncio.start_server(Scripted({"/whole": [OK + b"ok"]}).answer, "127.0.0.1", 0)
    async with running_serving(tmp_path) as serving, pod:
        await _serve(serving, pod.sockets[0].getsockname()[1])
        way = gateway_of(serving.context).short_way
        for full in (False, True, False):
            assert (await Asker(way, full=full).ask()).endswith(b"ok")


async def test_a_request_that_is_coming_when_the_gateway_ends_is_answered(tmp_path: Path) -> None:
    pod = await asyncio.start_server(Scripted({"/whole": [OK + b"ok"]}).answer, "127.0.0.1", 0)
    async with running_serving(tmp_path) as serving, pod:
        await _serve(serving, pod.sockets[0].getsockname()[1])
        connection = ClientConnection(gateway_of(serving.context).short_way, asyncio.Protocol)
        heard, closed = bytearray(), asyncio.Event()
        transport = Mock(write=heard.extend, close=closed.set, is_closing=closed.is_set)
        transport.get_extra_info.return_value = ("127.0.0.1", 1)
        connection.connection_made(transport)
        connection.data_received(f"GET /whole HTTP/1.1\r\n{HOST}\r\n".encode())
        connection.leave()
        assert not closed.is_set()
        connection.data_received(b"\r\n")
        await asyncio.wait_for(closed.wait(), 10)
        assert heard.endswith(b"ok")
        connection.connection_lost(None)


async def test_heads_that_differ_by_a_letter_are_told_apart(wire: Wire) -> None:
    for _ in range(2):
        for path in ("/a", "/b"):
            for body in ("1", "22"):
                length = f"Content-Length: {len(body)}"
                await wire.send(f"POST {path} HTTP/1.1", HOST, length, body=body)
                assert (await wire.answer())[2] == f"POST {path} {body}"


async def test_who_asks_is_asked_on_a_connection_that_stays(tmp_path: Path) -> None:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", echo)
    async with (
        running_serving(tmp_path, authentication=True) as serving,
        TestServer(app) as server,
    ):
        await _serve(serving, server.port or 0)
        reader = await _token(serving, "reader", reads=True)
        stranger = await _token(serving, "stranger", reads=False)
        async with front_door(serving.context) as port:
            wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
            for _ in range(2):
                for token, status in (
                    (reader, 200),
                    ("", 403),
                    (reader, 200),
                    (stranger, 403),
                    ("nobody's", 401),
                    ("\xff", 401),
                ):
                    told = (f"Authorization: Bearer {token}",) if token else ()
                    await wire.send("GET /a HTTP/1.1", HOST, *told)
                    assert (await wire.answer())[0] == status
            wire.writer.close()


async def _token(serving: Serving, name: str, *, reads: bool) -> str:
    """A token of an account, which may read services or nothing."""
    client = serving.client
    await client.apply(SERVICE_ACCOUNTS, new_object(SERVICE_ACCOUNTS, name, "default"))
    if reads:
        rule = {"apiGroups": ["*"], "resources": ["inferenceservices"], "verbs": ["get"]}
        await client.apply(ROLES, new_object(ROLES, name, "default") | {"rules": [rule]})
        binding = new_object(ROLE_BINDINGS, name, "default")
        subject = {"kind": "ServiceAccount", "name": name, "namespace": "default"}
        role = {"apiGroup": ROLES.group, "kind": ROLES.kind, "name": name}
        await client.apply(ROLE_BINDINGS, binding | {"subjects": [subject], "roleRef": role})
    path = f"/api/v1/namespaces/default/serviceaccounts/{name}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    made = await client.raw("POST", path, body=request)
    return str(made["status"]["token"])
