"""Same-tick batching: requests that arrived together are predicted together.

Everything the event loop reads in one turn is handed to the model as one array, on the loop's next
turn. Nothing ever waits for a batch to fill, so a lone request loses nothing, and under load a
prediction's fixed cost is shared. A model that takes long is run in a thread, so that health
checks are still answered; a quick one is not, because the hand-over would cost more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kubeling.serving.server.quick import Done

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["Batcher"]

_SLOW: Final = 0.005
_LARGEST: Final = 4096

Waiting = tuple["Array", Done]


class Batcher:
    """Calls ``predict`` on rows; the results come back row by row, in order."""

    def __init__(self, predict: Callable[[Array], Array]) -> None:
        self._predict = predict
        self._waiting: list[Waiting] = []
        self._scheduled = False
        self._seconds = 0.0
        self._thread: ThreadPoolExecutor | None = None

    def submit(self, rows: Array, done: Done) -> None:
        """Hands over the predictions of these rows, or what ``predict`` raises for them."""
        self._waiting.append((rows, done))
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        waiting, self._waiting = self._waiting, []
        for batch in _grouped(waiting):
            if self._seconds > _SLOW:
                self._run_in_thread(batch)
            else:
                self._run(batch)

    def _run(self, batch: list[Waiting]) -> None:
        try:
            found = self._timed(batch)
        except Exception as error:
            self._failed(batch, error)
        else:
            _deliver(batch, found)

    def _run_in_thread(self, batch: list[Waiting]) -> None:
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")

        def finished(done: asyncio.Future[Array]) -> None:
            if done.cancelled():
                for _, deliver in batch:
                    deliver(None, asyncio.CancelledError())
            elif error := done.exception():
                self._failed(batch, error)
            else:
                _deliver(batch, done.result())

        loop.run_in_executor(self._thread, self._timed, batch).add_done_callback(finished)

    def _timed(self, batch: list[Waiting]) -> Array:
        rows = batch[0][0] if len(batch) == 1 else np.concatenate([rows for rows, _ in batch])
        started = time.perf_counter()
        found = self._predict(rows)
        self._seconds += 0.2 * (time.perf_counter() - started - self._seconds)
        return found

    def _failed(self, batch: list[Waiting], error: BaseException) -> None:
        """One bad request must not fail the others: a failed batch is tried one by one."""
        if len(batch) == 1:
            batch[0][1](None, error)
            return
        for one in batch:
            self._run([one])


def _grouped(waiting: list[Waiting]) -> list[list[Waiting]]:
    """Requests whose rows may be stacked, in order of arrival."""
    if len(waiting) == 1:
        return [waiting]
    groups: dict[tuple[Any, ...], list[list[Waiting]]] = {}
    sizes: dict[tuple[Any, ...], int] = {}
    for entry in waiting:
        rows = entry[0]
        key = (rows.ndim, rows.shape[1:], rows.dtype.str)
        batches = groups.setdefault(key, [[]])
        if batches[-1] and sizes[key] + len(rows) > _LARGEST:
            batches.append([])
            sizes[key] = 0
        batches[-1].append(entry)
        sizes[key] = sizes.get(key, 0) + len(rows)
    return [batch for batches in groups.values() for batch in batches]


def _deliver(batch: list[Waiting], found: Array) -> None:
    if len(batch) == 1:
        batch[0][1](found, None)
        return
    start = 0
    for rows, done in batch:
        end = start + len(rows)
        done(found[start:end], None)
        start = end
