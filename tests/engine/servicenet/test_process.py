"""What forwards for Services outlives the platform, also where the user has no rights."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dnslib import DNSRecord
from tests.support.processes import processes_of
from tests.support.services import HERE

from kubeling.engine.servicenet.link import end_data_plane

PLATFORM = """
import asyncio, pathlib, sys
from tests.support.apiserver import running_server
from tests.support.services import endpoint, endpoint_slice, service
from kubeling.component import Context, Settings
from kubeling.engine.servicenet.link import end_data_plane
from kubeling.engine.servicenet.network import prepare_service_network
from kubeling.engine.servicenet.nodehosts import NodeHosts
from kubeling.kube.informer import Informers
from kubeling.kube.resources import ENDPOINT_SLICES, SERVICES
async def main(folder, target):
    services = await prepare_service_network(folder, isolation=False)
    if "ended" in sys.argv:
        await asyncio.to_thread(end_data_plane, folder)
    api = running_server(data_dir=folder / "api", service_cidr=services.cidr)
    async with api as running, Informers(running.client) as informers:
        made = await running.client.find(SERVICES, "web", "default")
        if made is None:
            body = service(ports=[{"port": 7000}])
            made = await running.client.create(SERVICES, body)
            slices = endpoint_slice("web", endpoint(), port=target)
            await running.client.create(ENDPOINT_SLICES, slices)
        context = Context(running.client, informers, Settings(folder, folder))
        running = asyncio.create_task(services.run(context, NodeHosts((), "127.0.0.1")))
        await services.ready.wait()
        print(made["spec"]["clusterIP"], services.dns_address, flush=True)
        await running
asyncio.run(main(pathlib.Path(sys.argv[1]), int(sys.argv[2])))
"""


@contextlib.contextmanager
def platform(data_dir: Path, target: int, *more: str) -> Iterator[tuple[str, str]]:
    """A platform that is killed at the end of the block; the Service's and the names' address."""
    command = [sys.executable, "-c", PLATFORM, str(data_dir), str(target), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address, names = process.stdout.readline().split()
            yield address, names
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    end_data_plane(tmp_path)
    assert processes_of(tmp_path) == []


async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line + line)
    writer.close()


@pytest.fixture
async def target() -> int:
    """The port of a server that says everything twice."""

    server = await asyncio.start_server(twice, HERE, 0)
    return int(server.sockets[0].getsockname()[1])


class Caller:
    """A connection through the Service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def call(cls, address: str) -> Caller:
        return cls(*await asyncio.open_connection(address, 7000))

    async def hears(self, text: str) -> bool:
        self._writer.write(text.encode() + b"\n")
        async with asyncio.timeout(20):
            heard = [await self._reader.readline() for _ in range(2)]
        return heard == [text.encode() + b"\n"] * 2


async def resolve(server: str, name: str, patience: float) -> bool:
    """Whether the name server says anything."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.connect((server, 53))
        question = DNSRecord.question(f"{name}.svc.cluster.local")
        await loop.sock_sendall(channel, question.pack())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                return bool(await loop.sock_recv(channel, 4096))
    return False


@pytest.mark.skipif(os.geteuid() != 0, reason="names are at port 53, which only root may open")
async def test_calls_and_names_go_on_without_a_platform(data_dir: Path, target: int) -> None:
    with platform(data_dir, target) as (address, names):
        early = await Caller.call(address)
        assert await early.hears("before")
    assert await early.hears("still")
    assert await (await Caller.call(address)).hears("new")
    assert await resolve(names, "web.default", 20)
    # A Service that is not known may have been made just before: "no" would be taken for final.
    assert not await resolve(names, "soon.default", 0.2)
    assert await resolve(names, "web.default.svc.cluster.local.default", 20)

    kept = processes_of(data_dir)
    with platform(data_dir, target) as (again, _):
        assert again == address
        assert set(kept) <= set(processes_of(data_dir))
        assert await early.hears("and on")
        assert await resolve(names, "soon.default", 20)


async def test_the_platform_replaces_it(data_dir: Path, target: int) -> None:
    with platform(data_dir, target) as (address, _):
        (forwarding,) = [p for p in processes_of(data_dir) if "servicenet.process" in p]
        os.kill(int(forwarding.partition(":")[0]), signal.SIGKILL)
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(OSError):
                    if await (await Caller.call(address)).hears("again"):
                        break
                await asyncio.sleep(0)


async def test_one_that_has_just_ended_is_replaced(data_dir: Path, target: int) -> None:
    """It was found, and was on its way out with the platform it was for."""
    with platform(data_dir, target, "ended") as (address, _):
        assert await (await Caller.call(address)).hears("all the same")


async def test_callers_wait_for_the_platform_where_nobody_is_behind_a_service(
    data_dir: Path, target: int
) -> None:
    closed = socket.create_server((HERE, 0))
    port = closed.getsockname()[1]
    closed.close()
    with platform(data_dir, port) as (address, _):
        pass
    waiting = await Caller.call(address)
    back = await asyncio.start_server(twice, HERE, port)
    assert await waiting.hears("patience")
    back.close()
