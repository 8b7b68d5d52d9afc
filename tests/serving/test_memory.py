"""What is asked leaves nothing behind: neither in the model server nor in the gateway.

Round after round of good requests, bad ones, senders that go away, models that are loaded again and
a request log whose sink is dead; what Python has allocated must stay as it was. ``--fuzz 100`` is a
soak of minutes; benchmarks/soak.py measures the processes of a whole platform.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from tests.serving.model_server import Doubler
from tests.serving.platform import is_ready, running_serving

from kubeling.gateway.app import create_app
from kubeling.serving.component import COMPONENT
from kubeling.serving.requestlog.opening import open_log
from kubeling.serving.requestlog.record import Counts, LogSettings, new_record
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.server import http
from kubeling.serving.server.app import ModelApp
from kubeling.serving.server.dataplane import DataPlane
from kubeling.serving.server.metrics import Metrics
from kubeling.serving.server.repository import FolderRepository

ROUNDS = 3
REQUESTS = 25
GROWTH = 8000
"""Bytes a round may leave: 200 for each of its requests would be 11,000."""
QUEUED = 1500

V1 = "/v1/models/m:predict"
V2 = "/v2/models/m/infer"
FINE = {"instances": [[1, 2]]}
TENSOR = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
BAD: list[tuple[str, bytes]] = [
    (V1, b"{"),
    (V1, b'{"instances": [["a", 2]]}'),
    (V1, b'{"instances": [[-1, 2]]}'),
    (V2, b'{"inputs": [{"name": "x"}]}'),
    ("/v1/models/other:predict", b"{}"),
    ("/v2/models/m/versions/7/infer", b"{}"),
]


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[int, int, aiohttp.ClientSession]]:
    """The ports of a model server whose log goes nowhere and of the gateway before it."""
    repository = FolderRepository("m", folder, lambda name, _: Doubler(name))
    await repository.load_all()
    with socket.create_server(("127.0.0.1", 0)) as sink:  # Nobody ever answers there.
        nowhere = f"http://127.0.0.1:{sink.getsockname()[1]}/"
        async with behind(folder, repository, nowhere) as found:
            yield found


@asynccontextmanager
async def behind(
    folder: Path, repository: FolderRepository, sink: str
) -> AsyncIterator[tuple[int, int, aiohttp.ClientSession]]:
    async with open_log(LogSettings(sink), Counts()) as log:
        assert log is not None
        for _ in range(QUEUED):  # It holds as many as it ever will.
            log.add(new_record("m", 200, FINE, {"predictions": [6.0]}))
        app = ModelApp(DataPlane(repository, Metrics(), log))
        async with (
            http.listening(app, immediately=app.immediately) as port,
            running_serving(folder / "platform") as serving,
            TestServer(create_app(serving.context, [COMPONENT])) as gateway,
            aiohttp.ClientSession(f"http://127.0.0.1:{gateway.port}") as client,
        ):
            container = {"image": "mine", "ports": [{"containerPort": port}]}
            await serving.service("m", predictor={"containers": [container]})
            await serving.start("m-predictor-00001")
            await serving.until(INFERENCE_SERVICES, "m", is_ready)
            yield port, gateway.port or 0, client


async def ask(port: int, gateway: int, client: aiohttp.ClientSession) -> None:
    """One round."""
    for _ in range(REQUESTS):
        for path, body in ((V1, FINE), (V2, {"inputs": [TENSOR]})):
            answer = await client.post(f"/serving/default/m{path}", json=body)
            assert answer.status == 200, await answer.text()
    for path, bad in BAD:
        answer = await client.post(f"/serving/default/m{path}", data=bad)
        assert answer.status in (400, 404), await answer.text()
    fine = json.dumps(FINE).encode()
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    for where, path in ((port, V1), (gateway, f"/serving/default/m{V1}")):
        for sent in (
            head % (path.encode(), 99) + b"half",
            head % (path.encode(), len(fine)) + fine,
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", where)
            writer.write(sent)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    answer = await client.post("/serving/default/m/v2/repository/models/m/load")
    assert answer.status == 200, await answer.text()


async def allocated(port: int, client: aiohttp.ClientSession) -> int:
    """Once the server's metrics were read: until then it holds thousands of durations unsorted."""
    async with client.get(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.status == 200
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.fixture
def traced() -> Any:
    logging.disable(logging.WARNING)  # pytest keeps what is logged.
    tracemalloc.start(1)
    yield
    tracemalloc.stop()
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("traced")
async def test_requests_leave_nothing_in_memory(tmp_path: Path, fuzz: int) -> None:
    async with served(tmp_path) as place:
        for _ in range(2 * ROUNDS):
            await ask(*place)
        port, _, client = place
        before = await allocated(port, client)
        first = tracemalloc.take_snapshot() if fuzz > 1 else None
        for _ in range(ROUNDS * fuzz):
            await ask(*place)
        grown = await allocated(port, client) - before
        print(f"{grown} bytes more after {ROUNDS * fuzz} rounds")
        if first is not None:
            for line in tracemalloc.take_snapshot().compare_to(first, "lineno")[:15]:
                print(line)
        assert grown <= GROWTH * ROUNDS * fuzz
