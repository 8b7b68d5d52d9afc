"""Commands over a websocket: the protocols, refusals, and what happens when a client goes."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.support.wire import StreamWire, stream_wire

from kubeling.apiserver import channels
from kubeling.kube.errors import Forbidden
from kubeling.kube.objects import new_object
from kubeling.kube.resources import PODS, ROLE_BINDINGS, ROLES
from kubeling.kube.transport import Request

BINARY = ["v5.channel.k8s.io", "v4.channel.k8s.io"]


@pytest.fixture
async def wire() -> AsyncIterator[StreamWire]:
    async with stream_wire() as opened:
        yield opened


def running(*command: str, stdin: bool = False) -> str:
    options = "&".join(f"command={part}" for part in command)
    return f"{options}&stdout=true&stderr=true{'&stdin=true' if stdin else ''}"


async def said(socket: aiohttp.ClientWebSocketResponse) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    async with asyncio.timeout(10):
        async for message in socket:
            found[message.data[0]] = found.get(message.data[0], b"") + message.data[1:]
    return found


@pytest.mark.parametrize("protocol", BINARY)
async def test_output_and_outcome_come_on_channels(wire: StreamWire, protocol: str) -> None:
    socket = await wire.socket(
        "exec", running("sh", "-c", "echo out; echo no >%262; exit 3"), protocol
    )
    assert socket.protocol == protocol
    found = await said(socket)
    assert (found[1], found[2]) == (b"out\n", b"no\n")
    outcome = json.loads(found[3])
    assert outcome["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


async def test_output_waits_until_a_client_of_v5_can_take_it(wire: StreamWire) -> None:
    """Those before Kubernetes 1.34 throw away what comes before they have made their streams."""
    socket = await wire.socket("exec", running("echo", "out"), "v5.channel.k8s.io", autoping=False)
    async with asyncio.timeout(10):
        assert (await socket.receive()).type is aiohttp.WSMsgType.PING
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.receive(), 0.2)
        await socket.pong()
    assert (await said(socket))[1] == b"out\n"


async def test_closing_the_input_channel_ends_the_input(wire: StreamWire) -> None:
    socket = await wire.socket("exec", running("cat", stdin=True), "v5.channel.k8s.io")
    await socket.send_bytes(b"\x00typed")
    await socket.send_str("\x00 as text")  # the Python client does
    await socket.send_bytes(b"\x04not a size")
    await socket.send_bytes(b'\x04{"Width": 80, "Height": 24}')
    await socket.send_bytes(b"\xff\x00")
    found = await said(socket)
    assert found[1] == b"typed as text"
    assert json.loads(found[3])["status"] == "Success"


async def test_text_clients_speak_base64(wire: StreamWire) -> None:
    socket = await wire.socket("exec", running("cat", stdin=True), "v4.base64.channel.k8s.io")
    await socket.send_str("0" + base64.b64encode(b"typed").decode())
    async with asyncio.timeout(10):
        assert (await socket.receive_str()) == "1"
        assert (await socket.receive_str()) == "1" + base64.b64encode(b"typed").decode()
    await socket.close()


async def test_a_client_that_goes_away_ends_the_command(wire: StreamWire) -> None:
    socket = await wire.socket("exec", running("sleep", "100"), "v5.channel.k8s.io")
    (process,) = wire.node.processes
    socket._response.connection.transport.abort()  # type: ignore[union-attr]
    async with asyncio.timeout(10):
        assert await process.wait() != 0


async def test_a_command_that_takes_no_input_ends_with_a_client_that_sends_it(
    wire: StreamWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "PING_SECONDS", 0.05)
    socket = await wire.socket("exec", running("sleep", "100", stdin=True), "v5.channel.k8s.io")
    (process,) = wire.node.processes
    sending = asyncio.create_task(_send_much(socket))
    _, pending = await asyncio.wait([sending], timeout=1)
    assert pending, "50 MB were taken although nobody reads them"
    socket._response.connection.transport.abort()  # type: ignore[union-attr]
    async with asyncio.timeout(10):
        assert await process.wait() != 0
    with pytest.raises(ConnectionError):
        await sending


async def _send_much(socket: aiohttp.ClientWebSocketResponse) -> None:
    for _ in range(800):
        await socket.send_bytes(b"\x00" + b"x" * 65536)


async def test_what_cannot_be_run_is_refused_with_the_reason(wire: StreamWire) -> None:
    async def refused(query: str, **headers: str) -> str:
        async with wire.session.post(wire.url("exec", query), headers=headers) as response:
            assert response.status == 400
            return str((await response.json())["message"])

    older = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
    asked = running("true")
    assert await refused(f"{asked}&container=x", **older) == (
        "container x is not valid for pod p, choose one of: [main]"
    )
    assert await refused(asked, **older) == "pod p is not running: its phase is Pending"
    await wire.running.client.patch(
        PODS, "p", {"status": {"phase": "Running"}}, "default", subresource="status"
    )
    assert "websocket is the protocol spoken here" in await refused(asked, **older)


async def test_protocols_not_spoken_are_refused_with_those_that_are(wire: StreamWire) -> None:
    for query, protocol in ((running("true"), "v9.channel.k8s.io"), ("stdout=1", BINARY[0])):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await wire.socket("exec", query, protocol)
        assert refused.value.status == 400


async def test_whoever_may_only_read_cannot_run_commands(wire: StreamWire) -> None:
    """A websocket is asked for with GET, so reading ``pods/exec`` must not be enough."""
    client = wire.running.client
    rule = {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get"]}
    await client.create(ROLES, new_object(ROLES, "reader", "default", rules=[rule]))
    binding = new_object(
        ROLE_BINDINGS,
        "reader",
        "default",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        subjects=[{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    )
    await client.create(ROLE_BINDINGS, binding)
    transport = wire.running.server.local_transport("jane", ("system:authenticated",))
    path = PODS.path("default", "p", "exec")
    with pytest.raises(Forbidden, match='cannot create resource "pods/exec"'):
        await transport.send(Request("GET", path, query={"command": "id", "stdout": "true"}))
