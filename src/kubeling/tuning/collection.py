"""Following the logs of running trials and filing their metrics as the lines appear.

One task per trial with a running pod, none without. A collection that is cut off reads the log
from the start again; its readings are numbered, so none is filed twice. Metrics that do not come
from a log are scraped here or reported over the API, and read from the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from kubeling.kube.client import Client
from kubeling.kube.clock import Clock
from kubeling.kube.errors import ApiError, NotFound
from kubeling.kube.objects import Key, Obj, key_of, name, namespace, uid
from kubeling.tuning.collectors import collector_kind, log_container, metric_names
from kubeling.tuning.loglines import gathered, is_filed, lines_of, readings_of
from kubeling.tuning.metrics import Reading, Summary, number, parser, summarise
from kubeling.tuning.scraping import scrape

__all__ = ["WATCHED", "Collected", "MetricsCollection", "Observations"]

log = logging.getLogger(__name__)

_ATTEMPTS: Final = 8
_PATIENT_ATTEMPTS: Final = 60
"""Where it is the platform's trouble, as on a full disk: about ten minutes."""
_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 12.8
_PAUSE: Final = 0.05
"""Seconds between two transactions of one trial: a talkative one leaves room for others."""
WATCHED: Final = 10_000
"""Readings that early stopping looks at; a trial that got as far is let go on."""


class Observations(Protocol):
    """Where readings are kept. ``record`` is idempotent per run and place."""

    async def begin(self, namespace: str, trial_uid: str, run: str) -> None:
        """Drops what other runs of a trial's container had printed."""
        ...

    async def record(
        self, namespace: str, trial_uid: str, run: str, readings: Sequence[tuple[int, Reading]]
    ) -> None:
        """Files readings under their places in a log; those there already stay."""
        ...

    async def report(self, namespace: str, trial_uid: str, readings: Sequence[Reading]) -> None:
        """Files readings after those that were reported before."""
        ...

    async def read(
        self, namespace: str, trial_uid: str, *, most: int | None = None
    ) -> list[Reading]:
        """The readings of a trial, in order: all of them or the first so many."""
        ...

    async def forget(self, namespace: str, trial_uid: str) -> None:
        """Removes a trial's readings."""
        ...


@dataclass(frozen=True, slots=True)
class Collected:
    """What a whole log held; ``problem`` says why it could not be read, if so."""

    summaries: dict[str, Summary]
    problem: str = ""


@dataclass
class _Collection:
    """The collection of one container's run."""

    run: str
    task: asyncio.Task[None] | None = None
    summaries: dict[str, Summary] = field(default_factory=dict)
    lines: int = 0
    count: int = 0
    readings: list[Reading] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is nothing more to scrape."""
    result: Collected | None = None

    def clear(self) -> None:
        self.summaries, self.count, self.lines = {}, 0, 0
        self.readings.clear()


class MetricsCollection:
    """The collections under way. Tasks belong to the group given to :meth:`within`.

    ``news`` is called when there is something new about a trial: its log was read to its end or,
    where the trial ``is_watched``, readings came.
    """

    def __init__(
        self,
        client: Client,
        clock: Clock,
        store: Callable[[], Awaitable[Observations]],
        news: Callable[[Key], None],
        is_watched: Callable[[Obj], bool] = lambda _trial: False,
    ) -> None:
        self._client = client
        self._clock = clock
        self._store = store
        self._news = news
        self._is_watched = is_watched
        self._group: asyncio.TaskGroup | None = None
        self._collections: dict[str, _Collection] = {}

    def within(self, group: asyncio.TaskGroup) -> None:
        """Gives the tasks their owner."""
        self._group = group

    def follow(self, trial: Obj, pod: Obj) -> Collected | None:
        """Sees to it that a pod's metrics are read; returns what its log held once it was read.

        A pod that has not started is left for later. Another pod, or another run of the container,
        takes the place of the one before.
        """
        state = _state_of(pod, log_container(trial))
        if state is None:
            return None
        run, ended = state
        current = self._collections.get(uid(trial))
        if ended and collector_kind(trial) == "PrometheusMetric":
            if current is None:
                return Collected({})
            current.over.set()
            return current.result
        if current is not None and current.run == run:
            return current.result
        if current is not None and current.task is not None:
            current.task.cancel()
        collection = self._collections[uid(trial)] = _Collection(run)
        assert self._group is not None, "the controller is not running"
        collection.task = self._group.create_task(
            self._collect(trial, pod, collection), name=f"metrics of {name(trial)}"
        )
        return None

    def live(self, trial: Obj) -> tuple[Sequence[Reading], dict[str, Summary]]:
        """The readings of a watched trial's log so far, and their summary."""
        found = self._collections.get(uid(trial))
        return (found.readings, found.summaries) if found is not None else ((), {})

    def lines(self, trial: Obj) -> int:
        """How many lines of a trial's log were read so far."""
        found = self._collections.get(uid(trial))
        return found.lines if found is not None else 0

    async def readings(self, trial: Obj, most: int | None = None) -> list[Reading]:
        """What was filed of a trial: all of it or the first so many readings."""
        store = await self._store()
        return await store.read(namespace(trial), uid(trial), most=most)

    async def recorded(self, trial: Obj) -> dict[str, Summary]:
        """The summary of what was filed, where there is no log to read (any more)."""
        wanted = set(metric_names(trial))
        return summarise(r for r in await self.readings(trial) if r.name in wanted)

    async def file(self, trial: Obj, run: str, reading: Reading) -> None:
        """Files a reading of our own making, once."""
        store = await self._store()
        await store.record(namespace(trial), uid(trial), run, [(0, reading)])

    async def forget(self, trial: Obj) -> None:
        """Ends a trial's collection and removes its readings."""
        self.drop(uid(trial))
        store = await self._store()
        await store.forget(namespace(trial), uid(trial))

    def drop(self, trial_uid: str) -> None:
        """Ends a trial's collection; what was filed stays."""
        collection = self._collections.pop(trial_uid, None)
        if collection is not None and collection.task is not None:
            collection.task.cancel()

    async def _collect(self, trial: Obj, pod: Obj, collection: _Collection) -> None:
        problem = ""
        read = self._scrape if collector_kind(trial) == "PrometheusMetric" else self._read_log
        attempt, furthest, patience = 0, 0, _PATIENT_ATTEMPTS
        while attempt < patience:
            try:
                await read(trial, pod, collection)
                problem = ""
                break
            except NotFound:
                problem = f"pod {name(pod)} was deleted before its log was read"
                collection.summaries = await self.recorded(trial)
                break
            except (ApiError, ConnectionError) as error:
                problem = f"the log of pod {name(pod)} could not be read: {error}"
                log.info("metrics of %s: %s", key_of(trial), error)
                refused = isinstance(error, ApiError) and error.status_code < 500
                patience = _ATTEMPTS if refused else _PATIENT_ATTEMPTS
            except Exception as error:
                # One trial's trouble must not end the collections of all the others.
                first, problem = not problem, f"the metrics could not be kept: {error}"
                log.warning("metrics of %s: %s", key_of(trial), error, exc_info=first)
                patience = _PATIENT_ATTEMPTS
            if collection.lines > furthest:
                # A log that is followed for days may break off now and then.
                attempt, furthest = 0, collection.lines
            await self._clock.sleep(min(_FIRST_DELAY * 2**attempt, _LONGEST_DELAY))
            attempt += 1
        collection.result = Collected(collection.summaries, problem)
        self._news(key_of(trial))

    async def _read_log(self, trial: Obj, pod: Obj, collection: _Collection) -> None:
        collection.clear()
        parse = parser(trial["spec"].get("metricsCollector") or {}, metric_names(trial))
        watched, store = self._is_watched(trial), await self._store()
        await store.begin(namespace(trial), uid(trial), collection.run)
        stream = self._client.logs(
            name(pod),
            namespace(pod),
            container=log_container(trial),
            follow=True,
            timestamps=True,
        )
        async with contextlib.aclosing(gathered(lines_of(stream), _PAUSE)) as batches:
            async for lines in batches:
                collection.lines += len(lines)
                readings = list(readings_of(lines, parse))
                if not readings:
                    continue
                filed = [
                    (place, reading)
                    for place, reading in enumerate(readings, collection.count)
                    if is_filed(place)
                ]
                await store.record(namespace(trial), uid(trial), collection.run, filed)
                collection.count += len(readings)
                collection.summaries = summarise(readings, collection.summaries)
                if watched and len(collection.readings) < WATCHED:
                    collection.readings += [r for r in readings if number(r.value) is not None]
                    self._news(key_of(trial))

    async def _scrape(self, trial: Obj, pod: Obj, collection: _Collection) -> None:
        store = await self._store()
        wanted = metric_names(trial)
        async for readings in scrape(trial, pod, wanted, self._clock, collection.over):
            await store.report(namespace(trial), uid(trial), readings)


def _state_of(pod: Obj, container: str) -> tuple[str, bool] | None:
    """Which run of a container is there to be read and whether it ended; before it, nothing."""
    status = pod.get("status") or {}
    for key in ("containerStatuses", "initContainerStatuses"):
        for entry in status.get(key) or ():
            if entry.get("name") == container:
                state = entry.get("state") or {}
                if "running" in state or "terminated" in state:
                    run = f"{uid(pod)}.{int(entry.get('restartCount') or 0)}"
                    return run, "terminated" in state
    return None
