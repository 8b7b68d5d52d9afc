"""Several processes at one port, which look like one server."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeling.rpc.client import call
from kubeling.serving.server.grpc.messages import RepositoryModelRequest
from kubeling.serving.server.grpc.methods import REPOSITORY_MODEL_LOAD, REPOSITORY_MODEL_UNLOAD
from kubeling.serving.server.metrics import Metrics
from kubeling.serving.server.worker_metrics import merged
from kubeling.serving.server.workers import until_free


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Answers rows of two numbers as they are."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import helper

    kind = onnx.TensorProto.FLOAT
    one, other = (helper.make_tensor_value_info(n, kind, [None, 2]) for n in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [one], [other])
    opset = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=opset, ir_version=8)
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    return tmp_path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def server(folder: Path, workers: int, *more: str) -> Iterator[tuple[psutil.Process, str]]:
    port = free_port()
    command = [sys.executable, "-m", "kubeling.serving.server", "--model_name=m", "--format=onnx"]
    command += [f"--model_dir={folder}", f"--http_port={port}", *(more or ["--enable_grpc=false"])]
    with subprocess.Popen([*command, f"--workers={workers}"]) as process:
        try:
            yield psutil.Process(process.pid), f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


async def metrics_with(url: str, line: str) -> str:
    """The metrics, once they have a line."""
    async with asyncio.timeout(60):
        while True:
            try:
                async with aiohttp.ClientSession(url) as client:
                    text = await (await client.get("/metrics")).text()
                if line in text.splitlines():
                    return text
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


async def predicted(url: str, number: int) -> list[list[float]]:
    async with aiohttp.ClientSession(url) as client:
        answer = await client.post("/v1/models/m:predict", json={"instances": [[number, 1]]})
        found: list[list[float]] = (await answer.json())["predictions"]
        return found


async def test_metrics_are_those_of_all_and_models_come_and_go_everywhere(model: Path) -> None:
    grpc = free_port()
    with server(model, 2, f"--grpc_port={grpc}") as (process, url):
        await metrics_with(url, "kubeling_workers 2")
        answers = await asyncio.gather(*(predicted(url, number) for number in range(30)))
        assert answers == [[[float(number), 1.0]] for number in range(30)]
        counted = 'kubeling_requests_total{model_name="m",code="200"} 30'
        text = await metrics_with(url, counted)
        assert 'request_predict_seconds_count{model_name="m"} 30' in text

        async def statuses(path: str, method: str = "GET") -> set[int]:
            found = set()
            for _ in range(12):
                async with aiohttp.ClientSession(url) as client:
                    found.add((await client.request(method, path)).status)
            return found

        async with aiohttp.ClientSession(url) as client:
            assert (await client.post("/v2/repository/models/m/unload")).status == 200
            assert await statuses("/v2/models/m") == {404}
            assert (await client.post("/v2/repository/models/m/load")).status == 200
            assert await statuses("/v2/models/m") == {200}

        asked = RepositoryModelRequest("m")
        await call("127.0.0.1", REPOSITORY_MODEL_UNLOAD, asked, 60, port=grpc)
        assert await statuses("/v2/models/m") == {404}

        # One that is started again has what the others have, and counts on.
        (other,) = process.children()
        other.kill()
        for workers in (1, 2):
            text = await metrics_with(url, f"kubeling_workers {workers}")
            assert counted in text, "what it counted is not lost with it"
        assert await statuses("/v2/models/m") == {404}
        await call("127.0.0.1", REPOSITORY_MODEL_LOAD, asked, 60, port=grpc)
        assert await statuses("/v2/models/m") == {200}
        await asyncio.gather(*(predicted(url, number) for number in range(30)))
        await metrics_with(url, 'kubeling_requests_total{model_name="m",code="200"} 60')
        (other,) = process.children()
    assert not other.is_running() or other.status() == psutil.STATUS_ZOMBIE


async def test_the_others_end_with_the_first(model: Path) -> None:
    with server(model, 2) as (process, url):
        await metrics_with(url, "kubeling_workers 2")
        (other,) = process.children()
        process.kill()
        await asyncio.to_thread(psutil.wait_procs, [other], 60)
    assert not other.is_running()


async def test_a_port_that_another_server_has_is_not_shared_with_it(
    model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with server(model, 2) as (_, url):
        await metrics_with(url, "kubeling_workers 2")
        with pytest.raises(OSError, match="in use"):
            await until_free("127.0.0.1", int(url.rpartition(":")[2]))
    await until_free("127.0.0.1", int(url.rpartition(":")[2]))
    assert "Fatal" not in capfd.readouterr().err, "its workers end in good order"


@given(st.lists(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([200, 400])))))
def test_metrics_of_several_are_added_up(counted: list[list[tuple[str, int]]]) -> None:
    alone, together = [], Metrics()
    for requests in counted:
        own = Metrics()
        for model, code in requests:
            own.request(model, code, 0.25)
            together.request(model, code, 0.25)
        alone.append(own.text().encode())
    lines = merged(alone).decode().splitlines()
    wanted = together.text().splitlines() if counted else [""]
    assert sorted(map(_number, lines)) == sorted(map(_number, wanted))


def _number(line: str) -> str:
    name, _, value = line.rpartition(" ")
    return line if line.startswith("#") or not name else f"{name} {float(value):g}"
