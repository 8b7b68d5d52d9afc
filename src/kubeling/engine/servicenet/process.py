"""The process of the data plane: it outlives the platform that started it, as the pods do.

It is told what to do over a socket in the data directory, by one platform after the other. It ends
when it is told to, and by itself when nobody is left whom it could serve: the platform is away and
no container runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final

import msgspec

from kubeling.engine.resolvconf import read_host_resolver
from kubeling.engine.sandbox import linux
from kubeling.engine.servicenet.dataplane import DataPlane
from kubeling.engine.servicenet.messages import (
    Answer,
    End,
    Failure,
    Hello,
    Judge,
    Open,
    Request,
    Retain,
    Serve,
    packed,
    receive,
)
from kubeling.engine.servicenet.reach import Reach
from kubeling.engine.servicenet.setup import Setup
from kubeling.engine.servicenet.zone import Zone

__all__ = ["main"]

_LOOK_ROUND_SECONDS: Final = 60.0


class _Process:
    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        network = ipaddress.IPv4Network(setup.network)
        reach = Reach(network, Path(setup.data_dir), setup.tether) if setup.routed else None
        upstream = [s for s in read_host_resolver().servers if s != setup.dns_address]
        self._plane = DataPlane(
            Zone(setup.domain, setup.dns_address),
            upstream,
            network if setup.routed else None,
            reach,
            _sockets(setup.dns),
        )
        self._platform: asyncio.StreamWriter | None = None
        self._away = asyncio.Event()
        self._away.set()
        self._decoder = msgspec.msgpack.Decoder(Request)

    async def run(self) -> None:
        """Serves until nobody needs it."""
        control = socket.socket(fileno=self._setup.control)
        async with await asyncio.start_unix_server(self._attend, sock=control):
            while True:
                await self._away.wait()
                await asyncio.sleep(_LOOK_ROUND_SECONDS)
                if self._away.is_set() and self._is_deserted():
                    break
        await self._plane.close()

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One platform, from its beginning to its end."""
        self._platform = writer
        self._away.clear()
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    request = self._decoder.decode(await receive(reader))
                    answer = Answer(self._setup.version, await self._carry_out(request))
                    writer.write(packed(answer))
                    await writer.drain()
                    if isinstance(request, End):
                        # Whoever asked sees the connection end with the process, not before.
                        os._exit(0)
        finally:
            writer.close()
            if self._platform is writer:
                self._platform = None
                self._away.set()
                self._plane.attended = False

    async def _carry_out(self, request: Request) -> list[Failure]:
        plane = self._plane
        match request:
            case Serve(key, service, slices, fronts):
                return await plane.serve(key, service, slices, fronts)
            case Retain(keys):
                await plane.retain(keys)
            case Judge(verdicts):
                await plane.judge(verdicts)
            case Open():
                await plane.open()
            case End():
                await plane.close()
            case Hello():
                pass
        return []

    def _is_deserted(self) -> bool:
        alive = Path(self._setup.data_dir).glob("engine/pods/*/*/alive")
        return not any(map(_has_writer, alive))


def _has_writer(fifo: Path) -> bool:
    """Whether a supervisor holds the file open (:mod:`kubeling.engine.sandbox.supervisor`)."""
    try:
        file = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(file, 1) != b""
    except BlockingIOError:
        return True
    finally:
        os.close(file)


def _sockets(numbers: tuple[int, int] | None) -> tuple[socket.socket, socket.socket] | None:
    if numbers is None:
        return None
    packets, streams = (socket.socket(fileno=number) for number in numbers)
    return packets, streams


def main() -> None:
    setup = msgspec.json.decode(sys.argv[1], type=Setup)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        linux.set_process_name("kubeling-svc")
    asyncio.run(_Process(setup).run())


if __name__ == "__main__":
    main()
