"""Where predictions run: on the event loop while they are quick, in a thread once they are not.

A hand-over to a thread costs more than a quick prediction does, and a slow one on the event loop
holds up health checks and every other model. Which of the two a model is is measured as it goes,
for models of one's own, too: a ``predict`` that is no coroutine and takes long is called in the
model's thread, one call at a time, so it need not know of threads. Libraries whose models are for
several threads, such as ONNX Runtime, are given as many as the server has processors.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any
from weakref import finalize

from kubeling.serving.server.batching import Runner
from kubeling.serving.server.model import Model
from kubeling.serving.server.quick import QuickModel

__all__ = ["Pacing"]


class Pacing:
    """Calls ``predict`` of models, and knows how long they take."""

    def __init__(self) -> None:
        # By identity: a model that is a dataclass has no hash, and may equal another.
        self._runners: dict[int, Runner] = {}

    async def predict(self, model: Model, *arguments: Any) -> Any:
        """What the model's ``predict`` gives, or raises."""
        if isinstance(model, QuickModel) or inspect.iscoroutinefunction(model.predict):
            return await _value(model.predict(*arguments))
        runner = self._runners.get(id(model))
        if runner is None:
            runner = self._runners[id(model)] = Runner()
            finalize(model, self._runners.pop, id(model)).atexit = False
        found = await _result(runner, functools.partial(model.predict, *arguments))
        if inspect.isawaitable(found):
            # It begins something on the event loop, so that is where it has to be called.
            runner.stay()
            return await found
        return found

    def text(self, models: Mapping[str, Model]) -> str:
        """As Prometheus text: in how many threads each model's predictions run."""
        lines = [
            "# HELP kubeling_prediction_threads Threads that predict; none while that is quick",
            "# TYPE kubeling_prediction_threads gauge",
        ]
        for name, model in models.items():
            runner = self._runner_of(model)
            if runner is not None:
                told = f'kubeling_prediction_threads{{model_name="{name}"}}'
                lines.append(f"{told} {runner.threads if runner.slow else 0}")
        return "\n".join(lines) + "\n"

    def _runner_of(self, model: Model) -> Runner | None:
        return model.runner if isinstance(model, QuickModel) else self._runners.get(id(model))


async def _result(runner: Runner, work: Callable[[], Any]) -> Any:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def done(found: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(found)
        else:
            future.set_exception(error)

    runner.run(work, done)
    return await future


async def _value(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
