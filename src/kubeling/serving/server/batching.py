"""Same-tick batching: requests that arrived together are predicted together.

Everything the event loop reads in one turn is handed to the model as one array, on the loop's next
turn. Nothing ever waits for a batch to fill, so a lone request loses nothing, and under load a
prediction's fixed cost is shared. A model that takes long is run in a thread, so that health
checks are still answered; a quick one is not, because the hand-over would cost more.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import numpy as np

from kubeling.serving.server import prediction_times
from kubeling.serving.server.metrics import Histogram
from kubeling.serving.server.processors import processors
from kubeling.serving.server.quick import Done
from kubeling.serving.server.watchdog import Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["Batcher", "Runner", "TakesLong"]

_SLOW: Final = 0.005
_LARGEST: Final = 4096
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)

T = TypeVar("T")
Waiting = tuple["Array", Done, int]


class TakesLong(Exception):
    """What work raises on the event loop that should be done in the thread instead."""


class Runner:
    """Does what is quick at once, and what has lately taken long in threads of its own.

    One at a time, as few libraries say that they take more: what comes while the thread is busy
    waits for it, however quick.
    """

    noted: ClassVar[bool] = False
    """Whether spans are to tell when it was done."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._stays = False
        self._pool: ThreadPoolExecutor | None = None
        self._later: deque[Callable[[], None]] = deque()
        self._under_way = 0
        self._marks = [Work()]
        self.threads = 1
        """How many predictions may be under way at once, for libraries that take more than one."""
        self.freed: Callable[[], None] | None = None
        """What is called when something else may begin; it must not raise."""

    @property
    def busy(self) -> bool:
        """Whether what comes next has to wait."""
        return self._under_way >= self.threads

    @property
    def slow(self) -> bool:
        """Whether what comes next is done in a thread."""
        return self._seconds > _SLOW and not self._stays

    def stay(self) -> None:
        """Does everything at once from now on, however long it takes."""
        self._stays = True

    def run(
        self,
        work: Callable[[], T],
        done: Callable[[T | None, BaseException | None], None],
        requests: int = 1,
    ) -> None:
        """Calls ``done`` with what ``work`` gives, or raises; it must not raise itself.

        ``requests`` is for how many.
        """
        if self.noted:
            work, done = prediction_times.noted(work, done, requests)
        if self._stays or not (self.slow or self.busy):
            try:
                found = self._timed(work)
            except TakesLong:
                self._in_thread(work, done)
            except Exception as error:
                done(None, error)
            else:
                done(found, None)
        else:
            self._in_thread(work, done)

    def _in_thread(
        self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]
    ) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(processors(), thread_name_prefix="predict")
        pool, context = self._pool, contextvars.copy_context()

        def begin() -> None:
            self._under_way += 1
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(pool, context.run, self._timed, work)
            running.add_done_callback(finished)

        def finished(ended: asyncio.Future[T]) -> None:
            self._under_way -= 1
            if self._later:
                self._later.popleft()()
            if ended.cancelled():
                done(None, asyncio.CancelledError())
            elif error := ended.exception():
                done(None, error)
            else:
                done(ended.result(), None)
            if self.freed is not None and not self.busy:
                self.freed()

        if self.busy:
            self._later.append(begin)
        else:
            begin()

    def _timed(self, work: Callable[[], T]) -> T:
        try:
            mark = self._marks.pop()
        except IndexError:
            mark = Work()
        started = mark.since = time.perf_counter()
        try:
            found = work()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # A refusal may be quicker than any prediction; what fails late holds up as much.
            self._took(max(time.perf_counter() - started, self._seconds))
            if isinstance(error, Exception) and not isinstance(error, StopIteration):
                raise
            # Futures do not take the one, and nobody catches a panic of Rust: who waits has to be
            # answered.
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        finally:
            mark.since = 0.0
            self._marks.append(mark)
        self._took(time.perf_counter() - started)
        return found

    def _took(self, seconds: float) -> None:
        self._seconds += 0.2 * (seconds - self._seconds)


class Batcher:
    """Calls ``predict`` on rows; the results come back row by row, in order."""

    def __init__(self, predict: Callable[[Array], Array]) -> None:
        self._predict = predict
        self.runner = Runner()
        self.runner.freed = self._go_on
        self.rows = Histogram(_SIZES)
        """How many rows were predicted together."""
        self._waiting: list[Waiting] = []
        self._scheduled = False
        self._held = False

    def submit(self, rows: Array, done: Done) -> None:
        """Hands over the predictions of these rows, or what ``predict`` raises for them."""
        self._waiting.append((rows, done, 1))
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turned)

    def submit_all(self, rows: Array, done: Done, requests: int) -> None:
        """As :meth:`submit` for all that this turn of the loop brought, so it need not wait."""
        self._waiting.append((rows, done, requests))
        self._flush()

    def _turned(self) -> None:
        self._scheduled = False
        if self._waiting:
            self._flush()

    def _flush(self) -> None:
        if self.runner.busy:
            # What comes meanwhile is predicted together, when a thread is done.
            self._held = True
            return
        waiting, self._waiting = self._waiting, []
        for batch in _grouped(waiting):
            self._run(batch)

    def _go_on(self) -> None:
        """Predicts what came while there was no thread for it."""
        if self._held:
            self._held = False
            if self._waiting:
                self._flush()

    @property
    def waiting(self) -> int:
        """The requests that wait for the prediction before theirs."""
        return sum(requests for _, _, requests in self._waiting)

    def _run(self, batch: list[Waiting]) -> None:
        self.rows.observe(sum([len(rows) for rows, _, _ in batch]))

        def finished(found: Array | None, error: BaseException | None) -> None:
            if found is not None:
                _deliver(batch, found)
            elif error is not None:
                self._failed(batch, error)

        requests = sum(one[2] for one in batch)
        self.runner.run(lambda: self._predict(_stacked(batch)), finished, requests)

    def _failed(self, batch: list[Waiting], error: BaseException) -> None:
        """One bad request must not fail the others: a failed batch is tried one by one."""
        if len(batch) == 1 or isinstance(error, asyncio.CancelledError):
            for _, done, _ in batch:
                done(None, error)
            return
        for one in batch:
            self._run([one])


def _stacked(batch: list[Waiting]) -> Array:
    return batch[0][0] if len(batch) == 1 else np.concatenate([rows for rows, _, _ in batch])


def _grouped(waiting: list[Waiting]) -> list[list[Waiting]]:
    """Requests whose rows may be stacked, in order of arrival."""
    if _alike(waiting):
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


def _alike(waiting: list[Waiting]) -> bool:
    """Whether all of it is one batch, as it mostly is."""
    first = waiting[0][0]
    if len(waiting) == 1:
        return True
    size, dtype, shape = 0, first.dtype, first.shape[1:]
    for rows, _, _ in waiting:
        if rows.dtype is not dtype or rows.shape[1:] != shape:
            return False
        size += len(rows)
    return size <= _LARGEST


def _deliver(batch: list[Waiting], found: Array) -> None:
    if len(batch) == 1:
        batch[0][1](found, None)
        return
    start = 0
    for rows, done, _ in batch:
        end = start + len(rows)
        done(found[start:end], None)
        start = end
