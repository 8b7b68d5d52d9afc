"""How callers are taken."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import Iterator

import pytest
import uvloop

from kubeling.rpc.accepting import accepting

CALLERS = 50


@contextlib.contextmanager
def waiting(listening: socket.socket) -> Iterator[None]:
    """Callers who came while nobody took them."""
    with contextlib.ExitStack() as open_:
        for _ in range(CALLERS):
            open_.enter_context(socket.create_connection(listening.getsockname(), timeout=5))
        yield


class Taken:
    """Those who have been taken; they are let go when the block is left."""

    def __init__(self) -> None:
        self.transports: list[asyncio.BaseTransport] = []
        self.all = asyncio.Event()

    def protocol(self) -> asyncio.Protocol:
        taken = self

        class Caller(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                taken.transports.append(transport)
                if len(taken.transports) == CALLERS:
                    taken.all.set()

        return Caller()

    def __enter__(self) -> Taken:
        return self

    def __exit__(self, *_: object) -> None:
        for transport in self.transports:
            transport.close()


async def turns_until_taken(listening: socket.socket) -> int:
    """The turns of the event loop until all who wait have been taken."""
    turns = 0
    with waiting(listening), Taken() as taken, accepting(listening, taken.protocol):
        async with asyncio.timeout(30):
            while not taken.all.is_set():
                await asyncio.sleep(0)
                turns += 1
    return turns


def test_all_who_wait_are_taken_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert uvloop.run(turns_until_taken(listening)) < CALLERS / 2


async def test_who_comes_while_too_many_files_are_open_is_taken_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    with waiting(listening), Taken() as taken, accepting(listening, taken.protocol):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")), hard))
        try:
            for _ in range(5):
                await asyncio.sleep(0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert "Too many open files" in caplog.text
        async with asyncio.timeout(30):
            await taken.all.wait()
