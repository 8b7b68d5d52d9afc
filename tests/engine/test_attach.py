"""Attaching to a container's own command."""

import asyncio

from tests.engine.node import TIMEOUT, Node, container, pod

from kubeling.engine.node_api import ExecSession


async def attached(node: Node, spec: dict[str, object], *, stdin: bool = True) -> ExecSession:
    await node.create(pod("p", spec))
    await node.running("p")
    return await node.engine.node_api.attach("default", "p", "", stdin=stdin)


async def everything(session: ExecSession) -> dict[int, bytes]:
    found = {1: b"", 2: b""}
    async with asyncio.timeout(TIMEOUT):
        async for stream, data in session.output():
            found[stream] += data
    return found


async def shows(output: object, text: bytes) -> None:
    seen = b""
    async with asyncio.timeout(TIMEOUT):
        while text not in seen:
            _, data = await anext(output)  # type: ignore[call-overload]
            seen += data


async def test_input_for_one_client_ends_with_it(node: Node) -> None:
    session = await attached(
        node, container(script="cat; echo done >&2", stdin=True, stdinOnce=True)
    )
    await session.write(b"typed\n")
    session.close_stdin()
    assert await everything(session) == {1: b"typed\n", 2: b"done\n"}
    await session.close()
    assert (await node.finished("p"))["status"]["phase"] == "Succeeded"


async def test_large_input_arrives_whole(node: Node) -> None:
    session = await attached(node, container(script="sleep 0.2; wc -c", stdin=True, stdinOnce=True))
    async with asyncio.timeout(TIMEOUT):
        await session.write(b"x" * 3_000_000)
    await session.close()
    await node.finished("p")
    assert (await node.logs("p")).strip() == "3000000"


async def test_shared_input_stays_open_for_the_next_client(node: Node) -> None:
    script = "while read line; do echo got $line; done"
    session = await attached(node, container(script=script, stdin=True))
    output = session.output()
    await session.write(b"one\n")
    await shows(output, b"got one\n")
    await session.close()
    session = await node.engine.node_api.attach("default", "p", "", stdin=True)
    output = session.output()
    await session.write(b"two\n")
    await shows(output, b"got two\n")
    await session.close()


async def test_a_terminal_takes_keys_and_sizes(node: Node) -> None:
    spec = {"name": "main", "image": "busybox", "command": ["sh"], "stdin": True, "tty": True}
    session = await attached(node, spec)
    output = session.output()
    await session.resize(77, 22)
    await session.write(b"stty size\n")
    await shows(output, b"22 77\r\n")
    await session.write(b"exit 3\n")
    async with asyncio.timeout(TIMEOUT):
        assert [stream async for stream, _ in output if stream != 1] == []
    await session.close()
    ended = await node.finished("p")
    assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3


async def test_leaving_a_terminal_leaves_the_command_running(node: Node) -> None:
    spec = container(script="sleep 60", stdin=True, stdinOnce=True, tty=True)
    session = await attached(node, spec)
    await session.close()
    session = await node.engine.node_api.attach("default", "p", "", stdin=True)
    output = session.output()
    await session.write(b"\x03")
    async with asyncio.timeout(TIMEOUT):
        assert b"^C" in b"".join([data async for _, data in output])
    await session.close()


async def test_output_from_before_is_the_logs_business(node: Node) -> None:
    script = "echo before; until test -e go; do sleep 0.02; done; echo after"
    session = await attached(node, container(script=script), stdin=False)
    await node.says("p", "before")
    await session.close()
    session = await node.engine.node_api.attach("default", "p", "", stdin=False)
    reading = asyncio.create_task(everything(session))
    await asyncio.sleep(0)
    (node.engine.config.workspace / "go").touch()
    assert await reading == {1: b"after\n", 2: b""}
    await session.close()


async def test_the_one_client_sees_the_prompt_that_was_there_before_it(node: Node) -> None:
    script = "printf 'name? '; read name; echo hello $name"
    await node.create(pod("p", container(script=script, stdin=True, stdinOnce=True)))
    await node.running("p")
    await node.says("p", "name? ")
    session = await node.engine.node_api.attach("default", "p", "", stdin=True)
    await session.write(b"you\n")
    assert (await everything(session))[1] == b"name? hello you\n"
    await session.close()
