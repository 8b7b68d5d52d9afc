"""Where predictions run, and that everybody gets an answer, whatever else is going on."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serving.model_server import serving

from kubeling.serving.server.batching import Batcher, Runner, TakesLong
from kubeling.serving.server.model import Model
from kubeling.serving.server.processors import processors
from kubeling.serving.server.tabular import TabularModel


class Waits:
    """Work that is done in the thread, and not before it may be."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def start(self, runner: Runner) -> None:
        runner.run(self._work, lambda found, _: self.ended.set_result(found or ""))

    def _work(self) -> str:
        if threading.current_thread() is threading.main_thread():
            raise TakesLong
        assert self.may_end.wait(60)
        return "ended"


async def test_rows_that_waited_for_other_work_of_the_model_are_predicted_after_it() -> None:
    """A model's thread may be at what goes to it by itself, such as tensors of several inputs."""
    batcher = Batcher(lambda rows: rows.sum(axis=1))
    other = Waits()
    other.start(batcher.runner)
    answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    batcher.submit_all(np.ones((2, 3)), lambda found, _: answered.set_result(found), 1)
    assert batcher.waiting == 1
    other.may_end.set()
    async with asyncio.timeout(60):
        assert await other.ended == "ended"
        assert (await answered).tolist() == [3.0, 3.0]


async def test_nothing_is_predicted_beside_the_thread() -> None:
    """A quick prediction that comes while a slow one is made waits for it."""
    runner, slow, order = Runner(), Waits(), list[str]()
    slow.ended.add_done_callback(lambda _: order.append("slow"))
    slow.start(runner)
    quick = asyncio.get_running_loop().create_future()
    quick.add_done_callback(lambda _: order.append("quick"))
    runner.run(lambda: "found", lambda found, _: quick.set_result(found))
    assert not quick.done()
    slow.may_end.set()
    async with asyncio.timeout(60):
        assert await quick == "found"
    assert order == ["slow", "quick"]


async def test_models_that_several_threads_may_use_are_used_by_several() -> None:
    """And what comes while they are at it waits for the first that ends."""
    runner = Runner()
    runner.threads = 2
    first, second, third = Waits(), Waits(), Waits()
    for work in (first, second, third):
        work.start(runner)
    third.may_end.set()
    async with asyncio.timeout(60):
        second.may_end.set()
        assert [await second.ended, await third.ended] == ["ended", "ended"]
        assert not first.ended.done()
        first.may_end.set()
        assert await first.ended == "ended"


class Meets(TabularModel):
    """Answers the first request when the second is asked."""

    suffixes = (".txt",)
    format_name = "meeting"
    shared = True

    def load_file(self, file: Path) -> None:
        self.first, self.second = threading.Event(), threading.Event()

    def predict_rows(self, rows: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            raise TakesLong
        if self.first.is_set():
            self.second.set()
        self.first.set()
        assert self.second.wait(60)
        return rows.sum(axis=1)


async def test_requests_to_a_model_that_threads_may_share_are_answered_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubeling.serving.server.tabular.at_once", lambda: 2)
    (tmp_path / "model.txt").touch()
    model = Meets("meets", tmp_path)
    model.ready = model.load()
    async with serving(model) as client, asyncio.timeout(60):

        async def ask(number: float) -> Any:
            url, body = "/v1/models/meets:predict", {"instances": [[number, 1.0]]}
            async with client.post(url, json=body) as answer:
                return await answer.json()

        first = asyncio.create_task(ask(1.0))
        await asyncio.to_thread(model.first.wait)
        second = await ask(2.0)
        found = [await first, second]
    assert found == [{"predictions": [2.0]}, {"predictions": [3.0]}]


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [("max 100000", 100), ("250000 100000", 2), ("50000 100000", 1), ("", 100)],
)
def test_a_server_uses_no_more_processors_than_its_container_may(
    limit: str, allowed: int, tmp_path: Path
) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    assert processors(tmp_path / "cpu.max") == min(allowed, processors(tmp_path / "none"))


class Late(Model):
    """Fails, and takes its time for it."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__("late")
        self.ready = True
        self._error = error
        self.threads: list[threading.Thread] = []

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        self.threads.append(threading.current_thread())
        time.sleep(0.03)
        raise self._error


class Panic(BaseException):
    """As Rust has in Python."""


@pytest.mark.parametrize("error", [KeyError, StopIteration, Panic])
async def test_a_model_that_is_slow_to_fail_holds_up_nobody_either(
    error: type[BaseException],
) -> None:
    model = Late(error)
    async with serving(model) as client, asyncio.timeout(60):
        for _ in range(2):
            answer = await client.post("/v1/models/late:predict", json={"instances": [1]})
            assert answer.status == 500
            assert error.__name__ in (await answer.json())["error"]
    assert [thread is threading.main_thread() for thread in model.threads] == [True, False]


async def test_a_model_may_be_a_dataclass() -> None:
    """Which has no hash."""

    @dataclass
    class Scaled(Model):
        factor: int
        name: str = "scaled"

        def __post_init__(self) -> None:
            super().__init__(self.name)
            self.ready = True

        def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
            return {"predictions": [self.factor * value for value in payload["instances"]]}

    async with serving(Scaled(3)) as client:
        answer = await client.post("/v1/models/scaled:predict", json={"instances": [1, 2]})
        assert await answer.json() == {"predictions": [3, 6]}
        assert (
            'kubeling_prediction_threads{model_name="scaled"} 0'
            in await (await client.get("/metrics")).text()
        )


async def test_whatever_a_coroutine_raises_is_an_answer() -> None:
    class Panicking(Model):
        async def predict(self, payload: Any, *_: Any, **__: Any) -> Any:
            raise Panic("index out of bounds")

    model = Panicking("panics")
    model.ready = True
    async with serving(model) as client, asyncio.timeout(60):
        answer = await client.post("/v1/models/panics:predict", json={"instances": [1]})
        assert (answer.status, await answer.json()) == (
            500,
            {"error": "Panic: index out of bounds"},
        )
