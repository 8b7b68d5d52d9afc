"""The API server in a process of its own, and what it is held against: bare SQLite, bare HTTPS."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Literal

import msgspec
import psutil
import uvloop
from aiohttp import web
from https_load import Endpoint, config_map

from kubeling.apiserver.server import ApiServer, ApiServerConfig
from kubeling.kube.config import load

Kind = Literal["ours", "waiting for the disk", "raw"]


@dataclass(frozen=True)
class Served:
    endpoint: Endpoint
    process: psutil.Process
    ready_seconds: float

    def cpu_seconds(self) -> float:
        return sum(self.process.cpu_times()[:2])

    def mebibytes(self) -> float:
        return self.process.memory_info().rss / 2**20


@asynccontextmanager
async def served(folder: Path, kind: Kind = "ours") -> AsyncIterator[Served]:
    """A server on a data directory, stopped at the end."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_run, args=(folder, theirs, kind))
    began = time.perf_counter()
    process.start()
    # Ours alone stays open here, so that a server that fails ends the wait for it.
    theirs.close()
    url = await asyncio.to_thread(ours.recv)
    ready = time.perf_counter() - began
    context = load(folder / "kubeconfig").ssl_context()
    if context is None:
        raise RuntimeError("the kubeconfig names no certificate")
    try:
        yield Served(Endpoint(url, context), psutil.Process(process.pid), ready)
    finally:
        ours.send(None)
        await asyncio.to_thread(process.join)


def collect_garbage_as_up_does() -> None:
    """What ``kubeling up`` does when it is ready."""
    gc.freeze()
    gc.set_threshold(10_000, 20)


def _run(folder: Path, pipe: Pipe, kind: Kind) -> None:
    uvloop.run(_serve(folder, pipe, kind))


async def _serve(folder: Path, pipe: Pipe, kind: Kind) -> None:
    safe = kind == "waiting for the disk"
    server = ApiServer(ApiServerConfig(folder, port=0, power_loss_safe=safe))
    await server.start()
    server.write_kubeconfig(folder / "kubeconfig")
    collect_garbage_as_up_does()
    if kind == "raw":
        await _serve_raw(server.authority.server_context("127.0.0.1", server.clock.now()), pipe)
    else:
        pipe.send(server.url)
        await asyncio.to_thread(pipe.recv)
    await server.stop()


async def _serve_raw(context: ssl.SSLContext, pipe: Pipe) -> None:
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


def raw_commits(
    path: Path, synchronous: Literal["NORMAL", "FULL"], count: int, group: int
) -> float:
    """Rows a second that SQLite commits in groups; FULL waits for the disk, NORMAL does not."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
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
