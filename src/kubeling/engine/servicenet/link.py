"""The platform's end of the data plane's process: finds the one that lives on, or starts one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from kubeling.engine.netpolicy.verdicts import Verdicts
from kubeling.engine.servicenet.messages import (
    Answer,
    End,
    Failure,
    Front,
    Hello,
    Judge,
    Open,
    Request,
    Retain,
    Serve,
    packed,
    receive,
)
from kubeling.engine.servicenet.setup import Setup
from kubeling.kube.objects import Key, Obj

__all__ = ["DataPlaneLink", "control_socket", "end_data_plane", "launch", "running_version"]

log = logging.getLogger(__name__)

_SOCKET: Final = "services.sock"
_LOG: Final = "services.log"
_MODULE: Final = "kubeling.engine.servicenet.process"
_END_SECONDS: Final = 10.0


class DataPlaneLink:
    """Implements :class:`~kubeling.engine.servicenet.proxy.Plane` over the socket.

    Requests raise :class:`ConnectionError` while there is no connection. What network policies
    say is kept until there is one.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._asked: deque[asyncio.Future[Answer]] = deque()
        self._verdicts: Verdicts | None = None

    async def connect(self) -> None:
        """Raises :class:`OSError` where there is no data plane."""
        with _near(self._data_dir) as path:
            self._streams = await asyncio.open_unix_connection(path)

    async def listen(self) -> None:
        """Hears the answers until the connection ends."""
        assert self._streams is not None
        reader, writer = self._streams
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    answer = msgspec.msgpack.decode(await receive(reader), type=Answer)
                    asked = self._asked.popleft()
                    if not asked.done():
                        asked.set_result(answer)
        finally:
            self._streams = None
            writer.close()
            while self._asked:
                if not (asked := self._asked.popleft()).done():
                    asked.set_exception(_gone())

    async def serve(
        self, key: Key, service: Obj | None, slices: Sequence[Obj], fronts: Sequence[Front]
    ) -> Sequence[Failure]:
        return (await self._ask(Serve(key, service, slices, fronts))).failures

    async def retain(self, keys: Sequence[Key]) -> None:
        """These are all the Services there are."""
        await self._ask(Retain(keys))

    async def judge(self, verdicts: Verdicts | None) -> None:
        self._verdicts = verdicts
        with contextlib.suppress(ConnectionError):
            await self._ask(Judge(verdicts))

    async def open(self) -> None:
        """All has been told."""
        await self._ask(Judge(self._verdicts))
        await self._ask(Open())

    async def _ask(self, request: Request) -> Answer:
        if self._streams is None:
            raise _gone()
        asked: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        self._streams[1].write(packed(request))
        return await asked


def control_socket(data_dir: Path) -> socket.socket:
    """Where a new data plane is told what to do; whoever connects before it runs waits for it."""
    folder = data_dir / "engine"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _SOCKET).unlink(missing_ok=True)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _near(data_dir) as path:
        control.bind(path)
    control.listen()
    return control


def launch(data_dir: Path, setup: Setup) -> subprocess.Popen[bytes]:
    """Starts the process; the descriptors in ``setup`` are its own afterwards."""
    command = [sys.executable, "-P", "-m", _MODULE, msgspec.json.encode(setup).decode()]
    with (data_dir / "engine" / _LOG).open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=setup.descriptors,
            start_new_session=True,
        )


def running_version(data_dir: Path) -> str:
    """What the data plane says that serves a data directory; empty where none does."""
    try:
        with _connected(data_dir) as channel:
            return _asked_at_once(channel, Hello()).version
    except OSError:
        return ""


def end_data_plane(data_dir: Path) -> None:
    """Returns when it has ended, with all it kept in the kernel; where there is none, at once."""
    try:
        with _connected(data_dir) as channel:
            _asked_at_once(channel, End())
            channel.recv(1)
    except TimeoutError:
        log.warning("the process that forwards for Services does not end")
    except OSError:
        return


@contextlib.contextmanager
def _connected(data_dir: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel, _near(data_dir) as path:
        channel.settimeout(_END_SECONDS)
        channel.connect(path)
        yield channel


def _asked_at_once(channel: socket.socket, request: Request) -> Answer:
    channel.sendall(packed(request))
    with channel.makefile("rb") as stream:
        size = int.from_bytes(stream.read(4))
        return msgspec.msgpack.decode(stream.read(size) or b"\x80", type=Answer)


@contextlib.contextmanager
def _near(data_dir: Path) -> Iterator[str]:
    """A short path of the socket: a long one would not fit into an address."""
    folder = data_dir / "engine"
    if not Path("/proc/self/fd").is_dir():
        yield str(folder / _SOCKET)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{_SOCKET}"
    finally:
        os.close(descriptor)


def _gone() -> ConnectionError:
    return ConnectionError("the process that forwards for Services is not there")
