"""The agent's end of the zygote: asks it to start containers and to run commands in them."""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from kubeling.engine.sandbox import linux
from kubeling.engine.sandbox.plan import ExecPlan, LaunchPlan, TemplatePlan
from kubeling.engine.sandbox.zygote import NAMESPACES

__all__ = ["Execution", "LaunchError", "Launcher"]

_SOURCES: Final = Path(__file__).parents[2]
_BOOT: Final = (
    "import sys, socket; sys.path.insert(0, sys.argv[1]);"
    "from kubeling.engine.sandbox.zygote import main;"
    "main(socket.socket(fileno=int(sys.argv[2])))"
)
_HEADER: Final = 4


class LaunchError(Exception):
    """A container or command could not be started; the message says what the system refused."""


class Launcher:
    """Keeps one zygote running, and replaces it should it die.

    All methods belong to one event loop. What was launched lives on after :meth:`stop`.
    """

    def __init__(self, python: str = sys.executable) -> None:
        self._python = python
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The zygote's process id, while there is one."""
        return self._process.pid if self._process else None

    async def launch(
        self, plan: LaunchPlan, files: Sequence[int] = (), waiting: socket.socket | None = None
    ) -> int:
        """Starts a container's supervisor; returns its process id.

        ``files`` are the way to a template, if the plan has ``warm``, and a layer, if one was lent.
        ``waiting`` is the way to a supervisor that stands by, which is closed.
        """
        argument = (plan, msgspec.json.encode(plan))
        # Own namespaces that lie in those joined can only be made after these were entered.
        at_once = 0 if plan["joined"] else plan["namespaces"]
        connection = waiting or self._begin(at_once)
        try:
            await _tell(connection, "launch", argument, files)
            answer = await _receive(connection)
        except ConnectionError as error:
            raise LaunchError(str(error)) from error
        finally:
            connection.close()
        if "error" in answer:
            raise LaunchError(str(answer["error"]))
        return int(answer["pid"])

    def stand_by(self, namespaces: int, template: int) -> socket.socket:
        """Starts a supervisor in such namespaces that waits for its container, and for whose
        command a template forks now; returns the way to it. Closing that ends both.

        It sees the machine's mounts as they are when it gets its container.
        """
        connection = self._begin(namespaces & ~linux.CLONE_NEWNS)
        try:
            socket.send_fds(connection, [_message("stand by", None)], [template])
        except BaseException:
            connection.close()
            raise
        return connection

    async def execute(self, plan: ExecPlan, files: Sequence[int]) -> Execution:
        """Runs a command inside a container; ``files`` become its three standard files.

        With a terminal there are none: :meth:`Execution.terminal` has to be asked for it.
        """
        return Execution(await self._ask("exec", plan, files))

    async def keep_layers(self, folder: Path) -> socket.socket:
        """Starts a keeper of layers (:mod:`.sandbox.layers`); returns the way to it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            (await self._ask("layers", str(folder), (theirs.fileno(),))).close()
        return ours

    async def start_template(self, plan: TemplatePlan) -> socket.socket:
        """Starts an interpreter to fork from (:mod:`.sandbox.warm`); returns the way to it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            files = (theirs.fileno(),)
            (await self._ask("template", plan, files, plan["namespaces"])).close()
        return ours

    async def stop(self) -> None:
        """Ends the zygote."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            process, self._process = self._process, None
            await asyncio.to_thread(process.wait)

    def start(self) -> None:
        """Starts the zygote now rather than with the first container."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [self._python, "-I", "-S", "-c", _BOOT, str(_SOURCES), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={},
            )
        self._control = ours

    async def _ask(
        self, kind: str, argument: Any, files: Sequence[int] = (), namespaces: int = 0
    ) -> socket.socket:
        connection = self._begin(namespaces)
        try:
            await _tell(connection, kind, argument, files)
        except BaseException:
            connection.close()
            raise
        return connection

    def _begin(self, namespaces: int) -> socket.socket:
        """Has the zygote fork; returns the way to the fork, which waits to be told what for."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            self._pass_on(theirs, namespaces)
        return ours

    def _pass_on(self, connection: socket.socket, namespaces: int) -> None:
        wanted = namespaces.to_bytes(NAMESPACES, "little")
        for attempt in range(2):
            if self._control is None:
                self.start()
            assert self._control is not None
            try:
                socket.send_fds(self._control, [wanted], [connection.fileno()])
                return
            except OSError as error:
                self._forget()
                if attempt:
                    raise LaunchError(f"the zygote cannot be reached: {error}") from error

    def _forget(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Execution:
    """A command running inside a container; closing it kills the command."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.over = False
        """Whether the command is known to have ended."""

    async def terminal(self) -> int:
        """Our end of the command's terminal; to be asked for before anything else.

        Raises :class:`LaunchError` if the container is gone.
        """
        await _readable(self._connection)
        first, files, _, _ = socket.recv_fds(self._connection, 1, 1)
        if not files:
            answer = await _receive(self._connection, first)
            raise LaunchError(str(answer.get("error")))
        os.set_inheritable(files[0], False)
        return files[0]

    async def wait(self) -> int:
        """The exit code: 126 or 127, and why on its standard error, if it could not be executed.

        Raises :class:`LaunchError` if the container is gone.
        """
        answer = await _receive(self._connection)
        self.over = True
        if "error" in answer:
            raise LaunchError(str(answer.get("error")))
        return int(answer["exit_code"])

    def kill(self) -> None:
        """Kills the command; :meth:`wait` tells how that went."""
        with contextlib.suppress(OSError):  # it has ended meanwhile
            self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._connection.close()


def _message(kind: str, argument: Any) -> bytes:
    message: Any = (kind, argument)
    data = marshal.dumps(message)
    return len(data).to_bytes(_HEADER, "little") + data


async def _tell(connection: socket.socket, kind: str, argument: Any, files: Sequence[int]) -> None:
    data = _message(kind, argument)
    socket.send_fds(connection, [data[:_HEADER]], files)
    await asyncio.get_running_loop().sock_sendall(connection, data[_HEADER:])


async def _receive(connection: socket.socket, begun: bytes = b"") -> dict[str, Any]:
    head = begun + await _read(connection, _HEADER - len(begun))
    answer: dict[str, Any] = marshal.loads(await _read(connection, int.from_bytes(head, "little")))
    return answer


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(connection.fileno(), readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(connection.fileno())


async def _read(connection: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        piece = await loop.sock_recv(connection, size - len(data))
        if not piece:
            raise LaunchError(os.strerror(104))
        data += piece
    return data
