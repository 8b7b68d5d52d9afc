"""The ``batcher`` of a service: requests wait for each other, and are answered by one prediction.

As upstream's agent does it, a batch is sent when it has ``maxBatchSize`` instances, or when its
first request has waited for ``maxLatency``; V1's answers say which batch they were in. Unlike
there, requests of V2 are merged, too, nothing is merged that differs in more than its rows, and a
batch that fails is tried one by one, so that each request gets its own answer or its own error.
Source: kserve's pkg/batcher/handler.go.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from kubeling.serving.server.batch_flags import BatchLimits
from kubeling.serving.server.errors import InferenceError, TimedOut
from kubeling.serving.server.infer_types import (
    InferInput,
    InferOutput,
    InferRequest,
    InferResponse,
)
from kubeling.serving.server.rows import pieces

__all__ = ["Merger", "merged_v1", "merged_v2"]

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class _Group(Generic[T]):
    """Requests that wait together."""

    parts: list[tuple[T, asyncio.Future[Any]]] = field(default_factory=list)
    size: int = 0
    timer: asyncio.TimerHandle | None = None


class Merger:
    """Lets requests of the same kind wait for each other."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._groups: dict[Hashable, _Group[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def join(
        self,
        kind: Hashable,
        part: T,
        size: int,
        ask: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
    ) -> tuple[R, str]:
        """The answer to a part, and the id of its batch; ``ask`` answers several in order."""
        loop = asyncio.get_running_loop()
        group = self._groups.setdefault(kind, _Group())
        if group.timer is None:
            group.timer = loop.call_later(self._limits.latency, self._send, kind, ask)
        answer: asyncio.Future[tuple[R, str]] = loop.create_future()
        group.parts.append((part, answer))
        group.size += size
        if group.size >= self._limits.size:
            self._send(kind, ask)
        return await answer

    def _send(self, kind: Hashable, ask: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        group = self._groups.pop(kind)
        if group.timer is not None:
            group.timer.cancel()
        # Who has gone needs no answer.
        waiting = [(part, answer) for part, answer in group.parts if not answer.done()]
        if waiting:
            task = asyncio.create_task(self._answer(waiting, ask), name="batch")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(
        self,
        waiting: Sequence[tuple[T, asyncio.Future[tuple[R, str]]]],
        ask: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
    ) -> None:
        batch = str(uuid.uuid4())
        try:
            async with asyncio.timeout(self._limits.timeout):
                found = await ask([part for part, _ in waiting])
        except TimeoutError:
            late = TimedOut(f"the batch was not answered within {self._limits.timeout:g} s")
            _fail(waiting, late)
        except Exception as error:
            if len(waiting) == 1:
                _fail(waiting, error)
                return
            await asyncio.gather(*(self._answer([one], ask) for one in waiting))
        else:
            for (_, answer), one in zip(waiting, found, strict=True):
                if not answer.done():
                    answer.set_result((one, batch))


def _fail(waiting: Sequence[tuple[Any, asyncio.Future[Any]]], error: Exception) -> None:
    for _, answer in waiting:
        if not answer.done():
            answer.set_exception(error)


async def merged_v1(
    merger: Merger, model: Hashable, body: Any, ask: Callable[[Any], Awaitable[Any]]
) -> Any:
    """The answer to a body of V1; one without instances, or whose answer is no list, goes alone."""
    instances = body.get("instances") if isinstance(body, dict) else None
    if not isinstance(instances, list) or not instances:
        return await ask(body)
    rest = {key: value for key, value in body.items() if key != "instances"}

    async def together(parts: Sequence[list[Any]]) -> Sequence[Any]:
        answer = await ask({**rest, "instances": [one for part in parts for one in part]})
        predictions = answer.get("predictions") if isinstance(answer, dict) else None
        sizes = [len(part) for part in parts]
        if not isinstance(predictions, list) or len(predictions) != sum(sizes):
            raise InferenceError("size of prediction is not equal to the size of instances")
        return [{**answer, "predictions": piece} for piece in pieces(predictions, sizes)]

    kind = (model, msgspec.json.encode(rest, order="sorted"))
    answer, batch = await merger.join(kind, instances, len(instances), together)
    return {"message": "", "batchId": batch, **answer}


async def merged_v2(
    merger: Merger,
    model: Hashable,
    request: InferRequest,
    ask: Callable[[InferRequest], Awaitable[InferResponse]],
) -> InferResponse:
    """The answer to a request of V2; tensors without rows of a common number go alone."""
    arrays = [tensor.as_numpy() for tensor in request.inputs]
    if not arrays or any(array.ndim == 0 for array in arrays):
        return await ask(request)
    size = len(arrays[0])
    if not size or any(len(array) != size for array in arrays):
        return await ask(request)

    async def together(parts: Sequence[list[Any]]) -> Sequence[InferResponse]:
        if len(parts) == 1 and parts[0] is arrays:
            return [await ask(request)]
        columns = [np.concatenate(several) for several in zip(*parts, strict=True)]
        inputs = [
            InferInput(
                one.name, column.shape, one.datatype, column, _apart_from_size(one.parameters)
            )
            for one, column in zip(request.inputs, columns, strict=True)
        ]
        whole = InferRequest(
            request.model_name,
            inputs,
            parameters=request.parameters,
            model_version=request.model_version,
        )
        return _responses(await ask(whole), [len(part[0]) for part in parts])

    shapes = tuple(
        (tensor.name, tensor.datatype, array.shape[1:])
        for tensor, array in zip(request.inputs, arrays, strict=True)
    )
    settings = msgspec.json.encode(
        (request.parameters, [_apart_from_size(tensor.parameters) for tensor in request.inputs])
    )
    kind = (model, request.model_version, shapes, settings)
    answer, _ = await merger.join(kind, arrays, size, together)
    return answer


def _responses(answer: InferResponse, sizes: list[int]) -> Sequence[InferResponse]:
    pieces: list[list[InferOutput]] = [[] for _ in sizes]
    for output in answer.outputs:
        array = output.as_numpy()
        if array.ndim == 0 or len(array) != sum(sizes):
            raise InferenceError("size of prediction is not equal to the size of instances")
        start = 0
        for piece, size in zip(pieces, sizes, strict=True):
            rows = array[start : start + size]
            parameters = _apart_from_size(output.parameters)
            piece.append(InferOutput(output.name, rows.shape, output.datatype, rows, parameters))
            start += size
    return [InferResponse(None, answer.model_name, piece, answer.model_version) for piece in pieces]


def _apart_from_size(parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """A tensor's parameters without the length that its own bytes had."""
    kept = {key: v for key, v in (parameters or {}).items() if key != "binary_data_size"}
    return kept or None
