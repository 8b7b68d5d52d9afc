"""Commands in running containers, and what containers use."""

import asyncio

import pytest
from tests.engine.node import Node, container, pod

from kubeling.engine.node_api import ExecSession
from kubeling.kube.errors import BadRequest


async def started(node: Node, *command: str, stdin: bool = False) -> ExecSession:
    await node.create(
        pod(
            "p",
            container(script="echo mine > /tmp/file; sleep 60", env=[{"name": "A", "value": "1"}]),
        )
    )
    await node.running("p")
    return await node.engine.node_api.exec("default", "p", "", command, stdin=stdin)


async def output(session: ExecSession) -> dict[int, bytes]:
    found = {1: b"", 2: b""}
    async for stream, data in session.output():
        found[stream] += data
    return found


async def test_a_command_sees_what_the_container_sees(node: Node) -> None:
    session = await started(node, "sh", "-c", "cat /tmp/file; echo $A >&2; uname -n; exit 3")
    assert await output(session) == {1: b"mine\np\n", 2: b"1\n"}
    assert await session.wait() == 3
    await session.close()


async def test_input_reaches_the_command(node: Node) -> None:
    session = await started(node, "cat", stdin=True)

    async def send() -> None:
        await session.write(b"x" * 300_000)
        session.close_stdin()

    _, found = await asyncio.gather(send(), output(session))
    assert len(found[1]) == 300_000
    assert await session.wait() == 0
    await session.close()


async def test_hanging_up_kills_the_command(node: Node) -> None:
    session = await started(
        node, "sh", "-c", "echo on; while :; do echo x >> beats; sleep 0.02; done"
    )
    async with asyncio.timeout(5):
        assert await anext(session.output()) == (1, b"on\n")
    await session.close()
    beats = node.engine.config.workspace / "beats"
    await node.run(pod("wait", container(script="sleep 0.2; rm beats; sleep 0.2")))
    assert not beats.exists()


async def test_a_missing_program_is_told_on_standard_error(node: Node) -> None:
    session = await started(node, "no-such-program")
    found = await output(session)
    assert found[2] == b'exec: "no-such-program": executable file not found in $PATH\n'
    assert await session.wait() == 127
    await session.close()


async def test_only_running_containers_take_commands(node: Node) -> None:
    await node.run(pod("p", container(script="true")))
    with pytest.raises(BadRequest, match="is not running"):
        await node.engine.node_api.exec("default", "p", "", ["true"], stdin=False)


async def test_usage_is_measured(node: Node) -> None:
    await node.create(
        pod("p", container(image="python", command=["python", "-c", "while True: pass"]))
    )
    await node.running("p")
    api = node.engine.node_api
    await api.pod_usage()
    await node.run(pod("wait", container(script="sleep 0.3")))
    (usage,) = await api.pod_usage("default")
    (main,) = usage.containers
    assert main.name == "main"
    assert main.cpu > 0.1
    assert main.memory > 1_000_000
    assert (await api.node_usage()).memory > main.memory
