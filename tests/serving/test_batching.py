"""Where predictions run, and that everybody gets an answer, whatever else is going on."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tests.serving.model_server import serving

from kubeling.serving.server.batching import Batcher, Runner, TakesLong
from kubeling.serving.server.model import Model


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
