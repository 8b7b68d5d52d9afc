"""How fast the API answers, beside what limits it: raw SQLite, raw JSON over HTTPS.

    python benchmarks/api.py [--requests 2000] [--watchers 500] [--objects 20000]

The server runs in a process of its own and the clients in this one; only the rows "in process" have
both in one. What a request costs the server's CPU hardly depends on what else the machine does, the
rates do. Every figure that grows with something is taken at half of it, too.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import sqlite3
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import msgspec
import psutil
import uvloop
from aiohttp import web
from https_load import Connection, Endpoint, config_map, rate

from kubeling.apiserver.server import ApiServer, ApiServerConfig
from kubeling.kube.client import Client
from kubeling.kube.config import load
from kubeling.kube.resources import CONFIG_MAPS

MAPS = "/api/v1/namespaces/default/configmaps"
CLIENTS = (1, 8, 32)
PEER = {"creates": {1: 460, 8: 700, 32: 1380}, "gets": {1: 730, 32: 1180}}
"""kube-apiserver 1.36 with etcd, a second, on the 2 cores the goals were set for."""
_names = itertools.count()


# --- what limits it -----------------------------------------------------------------------------


def raw_commits(folder: Path, count: int, group: int) -> float:
    """Rows a second that SQLite makes survive a power cut, in groups."""
    connection = sqlite3.connect(folder / f"raw{group}.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE objects (name TEXT PRIMARY KEY, value BLOB)")
    began = time.perf_counter()
    for first in range(0, count, group):
        connection.execute("BEGIN IMMEDIATE")
        for index in range(first, first + group):
            row = (f"c{index}", config_map(f"c{index}"))
            connection.execute("INSERT INTO objects VALUES (?, ?)", row)
        connection.execute("COMMIT")
    elapsed = time.perf_counter() - began
    connection.close()
    return count / elapsed


async def serve_raw(context: ssl.SSLContext, pipe: Pipe) -> None:
    """Reads JSON and sends it back: what any server on aiohttp must do."""

    async def answer(request: web.BaseRequest) -> web.Response:
        body = msgspec.json.decode(await request.read() or config_map("a"))
        headers = {"Content-Type": "application/json"}
        return web.Response(body=msgspec.json.encode(body), headers=headers)

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    address: tuple[str, int] = runner.addresses[0]
    pipe.send(f"https://127.0.0.1:{address[1]}")
    await asyncio.to_thread(pipe.recv)
    await runner.cleanup()


# --- the server in a process of its own ---------------------------------------------------------


async def _serve(folder: Path, pipe: Pipe, raw: bool) -> None:
    server = ApiServer(ApiServerConfig(folder, port=0))
    await server.start()
    server.write_kubeconfig(folder / "kubeconfig")
    if raw:
        await serve_raw(server.authority.server_context("127.0.0.1", server.clock.now()), pipe)
    else:
        pipe.send(server.url)
        await asyncio.to_thread(pipe.recv)
    await server.stop()


def serve(folder: Path, pipe: Pipe, raw: bool) -> None:
    uvloop.run(_serve(folder, pipe, raw))


@dataclass(frozen=True)
class Served:
    endpoint: Endpoint
    process: psutil.Process


@asynccontextmanager
async def served(folder: Path, *, raw: bool = False) -> AsyncIterator[Served]:
    """A server on a data directory, stopped at the end."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(folder, theirs, raw))
    process.start()
    # Ours alone stays open here, so that a server that fails ends the wait for it.
    theirs.close()
    url = await asyncio.to_thread(ours.recv)
    context = load(folder / "kubeconfig").ssl_context()
    if context is None:
        raise RuntimeError("the kubeconfig names no certificate")
    try:
        yield Served(Endpoint(url, context), psutil.Process(process.pid))
    finally:
        ours.send(None)
        await asyncio.to_thread(process.join)


# --- over HTTPS ---------------------------------------------------------------------------------


async def create(connection: Connection, _: int) -> bytes:
    return await connection.request("POST", MAPS, config_map(f"c{next(_names)}"))


async def get(connection: Connection, _: int) -> bytes:
    return await connection.request("GET", f"{MAPS}/one")


async def list_page(connection: Connection, _: int) -> bytes:
    return await connection.request("GET", f"{MAPS}?limit=100")


async def over_https(folder: Path, requests: int) -> None:
    """Ours beside the bare server, turn by turn, so that both meet the same machine."""
    async with served(folder / "raw", raw=True) as bare, served(folder / "https") as ours:
        connection = await ours.endpoint.connect()
        await connection.request("POST", MAPS, config_map("one"))
        for clients in CLIENTS:
            raw = await measured(bare, clients, requests, create)
            print(f"raw JSON over HTTPS, {clients:2} clients    {raw}", flush=True)
            for label, send, share in _KINDS:
                found = await measured(ours, clients, requests // share, send)
                line = f"our {label:18} {clients:2} clients    {found}"
                line += f"  {found.rate / raw.rate:5.2f} of raw"
                if peer := PEER.get(label, {}).get(clients):
                    line += f"  {found.rate / peer:5.2f} of kube-apiserver's {peer}/s"
                print(line, flush=True)
        await connection.close()


_KINDS = (("creates", create, 1), ("gets", get, 1), ("lists of 100", list_page, 10))


@dataclass(frozen=True)
class Speed:
    """Requests a second, and what each cost the server."""

    rate: float
    cpu_ms: float

    def __str__(self) -> str:
        return f"{self.rate:7.0f}/s  {self.cpu_ms:6.3f} ms CPU each"


async def measured(
    server: Served, clients: int, count: int, send: Callable[[Connection, int], Awaitable[bytes]]
) -> Speed:
    await rate(server.endpoint, clients, 50, send)
    before = sum(server.process.cpu_times()[:2])
    found = await rate(server.endpoint, clients, count, send)
    used = sum(server.process.cpu_times()[:2]) - before
    return Speed(found, used / count * 1000)


# --- in process ---------------------------------------------------------------------------------


async def in_process(folder: Path, requests: int) -> None:
    server = ApiServer(ApiServerConfig(folder / "local"))
    await server.start()
    client = Client(server.local_transport())

    async def make() -> None:
        body = msgspec.json.decode(config_map(f"c{next(_names)}"))
        await client.create(CONFIG_MAPS, body, "default")

    async def read() -> None:
        await client.get(CONFIG_MAPS, "one", "default")

    await client.create(CONFIG_MAPS, msgspec.json.decode(config_map("one")), "default")
    for label, work in (("creates", make), ("gets", read)):
        for workers in CLIENTS:
            speed = await _together(work, requests, workers)
            print(f"{label} in process, {workers:2} at once    {speed}", flush=True)
    await server.stop()


async def _together(work: Callable[[], Awaitable[None]], count: int, workers: int) -> Speed:
    numbers = iter(range(count))

    async def worker() -> None:
        for _ in numbers:
            await work()

    await work()
    began, before = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(workers)))
    elapsed, used = time.perf_counter() - began, time.process_time() - before
    return Speed(count / elapsed, used / count * 1000)


# --- watches and size ---------------------------------------------------------------------------


async def fan_out(folder: Path, watchers: int) -> None:
    """From sending one change to its arrival at the last watcher, over HTTPS."""
    async with served(folder / "watches") as server:
        writer = await server.endpoint.connect()
        for count in (watchers // 2, watchers):
            streams = [await server.endpoint.connect() for _ in range(count)]
            for stream in streams:
                await stream.watch(f"{MAPS}?watch=true")
                await stream.line()
            times = [await _spread(writer, streams) for _ in range(5)]
            print(
                f"one change to {count:4} watchers {min(times) * 1000:8.1f} ms over HTTPS",
                flush=True,
            )
            for stream in streams:
                await stream.close()


async def _spread(writer: Connection, streams: list[Connection]) -> float:
    began = time.perf_counter()
    name = f"w{next(_names)}"
    await asyncio.gather(
        writer.request("POST", MAPS, config_map(name)), *(stream.line() for stream in streams)
    )
    return time.perf_counter() - began


async def held(folder: Path, objects: int) -> None:
    """Many objects: filling, memory, starting on them, a page and a selection of them."""
    for count in (objects // 2, objects):
        data = folder / f"held{count}"
        async with served(data) as server:
            filling = await rate(server.endpoint, 32, count, create)
        began = time.perf_counter()
        async with served(data) as server:
            started = time.perf_counter() - began
            connection = await server.endpoint.connect()
            page = await _milliseconds(connection, f"{MAPS}?limit=100")
            chosen = await _milliseconds(connection, f"{MAPS}?labelSelector=app%3Dnone")
            named = await _milliseconds(connection, f"{MAPS}?fieldSelector=metadata.name%3Dc9")
            memory = server.process.memory_info().rss / 2**20
        print(
            f"{count:6} objects: filled at {filling:5.0f}/s, {memory:5.0f} MiB, ready in "
            f"{started:4.1f} s; page of 100 {page:.1f} ms, by label {chosen:.1f}, name {named:.1f}",
            flush=True,
        )


async def _milliseconds(connection: Connection, path: str) -> float:
    await connection.request("GET", path)
    began = time.perf_counter()
    await connection.request("GET", path)
    return (time.perf_counter() - began) * 1000


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--watchers", type=int, default=500)
    parser.add_argument("--objects", type=int, default=20000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for group in (1, 50):
            speed = raw_commits(folder, given.requests, group)
            print(f"raw SQLite, {group:2} in a commit {speed:20.0f}/s", flush=True)
        await in_process(folder, given.requests)
        await over_https(folder, given.requests)
        await fan_out(folder, given.watchers)
        await held(folder, given.objects)


if __name__ == "__main__":
    uvloop.run(main())
