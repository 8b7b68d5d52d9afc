"""Commands on a terminal inside a container, and what becomes of them when the client goes."""

import asyncio
import os

from tests.engine.node import TIMEOUT, Node, container, pod

from kubeling.engine.node_api import ExecSession


class Screen:
    """What a terminal shows, read until something appears on it."""

    def __init__(self, session: ExecSession) -> None:
        self._output = session.output()
        self.text = ""

    async def shows(self, text: str) -> None:
        async with asyncio.timeout(TIMEOUT):
            while text not in self.text:
                _, data = await anext(self._output)
                self.text += data.decode()

    async def rest(self) -> str:
        async with asyncio.timeout(TIMEOUT):
            async for _, data in self._output:
                self.text += data.decode()
        return self.text


async def shell(node: Node, **context: object) -> ExecSession:
    fields = {"securityContext": context} if context else {}
    await node.create(pod("p", container(script="sleep 60", **fields)))
    await node.running("p")
    return await node.engine.node_api.exec("default", "p", "", ["sh"], stdin=True, tty=True)


async def test_a_shell_on_a_terminal_takes_input_and_says_how_it_ended(node: Node) -> None:
    session = await shell(node)
    screen = Screen(session)
    await session.write(b"tty; test -t 0 && echo is-a-$TERM; exit 7\n")
    text = await screen.rest()
    assert "/dev/pts/" in text
    assert "is-a-xterm\r\n" in text
    assert await session.wait() == 7
    await session.close()


async def test_the_terminal_has_the_clients_size(node: Node) -> None:
    session = await shell(node)
    screen = Screen(session)
    await session.resize(91, 33)
    await session.write(b"stty size\n")
    await screen.shows("33 91\r\n")
    await session.write(b"sh -c \"trap 'stty size' WINCH; echo set; sleep 50 & wait\"\n")
    await screen.shows("set\r\n")
    await session.resize(120, 40)
    await screen.shows("40 120\r\n")
    await session.close()


async def test_control_c_ends_the_command_and_not_the_shell(node: Node) -> None:
    session = await shell(node)
    screen = Screen(session)
    await session.write(b"sh -c 'echo be\"\"gun; exec sleep 50'\n")
    await screen.shows("begun\r\n")
    await session.write(b"\x03")
    await screen.shows("^C")
    await session.write(b"echo still $((40+2))\n")
    await screen.shows("still 42\r\n")
    await session.close()


async def test_the_terminal_belongs_to_the_containers_user(node: Node) -> None:
    session = await shell(node, runAsUser=4321)
    screen = Screen(session)
    await session.write(b"id -u; : > $(tty) && echo writ''able; exit\n")
    text = await screen.rest()
    assert "4321\r\n" in text
    assert "writable\r\n" in text
    await session.close()


async def test_hanging_up_ends_a_shell_with_the_jobs_it_started(node: Node) -> None:
    session = await shell(node)
    screen = Screen(session)
    beats = node.engine.config.workspace / "beats"
    await session.write(b"set -m; (trap '' HUP; while :; do echo x >> beats; sleep 0.02; done) &\n")
    await session.write(b"until test -e beats; do sleep 0.02; done; echo be''ating\n")
    await screen.shows("beating\r\n")
    await session.close()
    await node.run(pod("wait", container(script="sleep 0.2; rm beats; sleep 0.2")))
    assert not beats.exists()


async def test_nothing_stays_open_after_many_commands(node: Node) -> None:
    session = await shell(node)
    await session.close()
    before = len(os.listdir("/proc/self/fd"))
    api = node.engine.node_api
    for number in range(6):
        session = await api.exec("default", "p", "", ["cat"], stdin=True, tty=number % 2 == 0)
        await session.write(b"x\n")
        output = session.output()
        await anext(output)
        await session.close()
        assert [piece async for piece in output] == [] or number % 2 == 0
    assert len(os.listdir("/proc/self/fd")) == before
