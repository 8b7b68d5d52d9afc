"""Following the logs of running trials and filing their metrics as the lines appear.

One task per trial with a running pod, none without. A collection that is cut off reads the log
from the start again; its readings are numbered, so none is filed twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from kubeling.kube.client import Client
from kubeling.kube.clock import Clock
from kubeling.kube.errors import ApiError, NotFound
from kubeling.kube.objects import Key, Obj, key_of, name, namespace, parse_time, uid
from kubeling.tuning.instrumentation import log_container
from kubeling.tuning.metrics import LineParser, Reading, Summary, parser, summarise

__all__ = ["Collected", "MetricsCollection", "Observations", "metric_names"]

log = logging.getLogger(__name__)

_ATTEMPTS: Final = 8
_FIRST_DELAY: Final = 0.1


class Observations(Protocol):
    """Where readings are kept. ``record`` is idempotent per sequence number."""

    async def record(
        self, namespace: str, trial_uid: str, first: int, readings: Sequence[Reading]
    ) -> None:
        """Files readings from sequence number ``first`` on; those there already stay."""
        ...

    async def read(self, namespace: str, trial_uid: str) -> list[Reading]:
        """All readings of a trial, in order."""
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

    run: tuple[str, int]
    task: asyncio.Task[None] | None = None
    summaries: dict[str, Summary] = field(default_factory=dict)
    count: int = 0
    result: Collected | None = None


class MetricsCollection:
    """The collections under way. Tasks belong to the group given to :meth:`within`."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        store: Callable[[], Awaitable[Observations]],
        ended: Callable[[Key], None],
    ) -> None:
        self._client = client
        self._clock = clock
        self._store = store
        self._ended = ended
        self._group: asyncio.TaskGroup | None = None
        self._collections: dict[str, _Collection] = {}

    def within(self, group: asyncio.TaskGroup) -> None:
        """Gives the tasks their owner."""
        self._group = group

    def follow(self, trial: Obj, pod: Obj) -> Collected | None:
        """Sees to it that a pod's log is read; returns what it held once it was read to its end.

        A pod that has not started is left for later. Another pod, or another run of the container,
        takes the place of the one before.
        """
        started = _run_of(pod, log_container(trial))
        if started is None:
            return None
        current = self._collections.get(uid(trial))
        if current is not None and current.run == started:
            return current.result
        if current is not None and current.task is not None:
            current.task.cancel()
        collection = self._collections[uid(trial)] = _Collection(started)
        assert self._group is not None, "the controller is not running"
        fresh = current is None
        collection.task = self._group.create_task(
            self._collect(trial, pod, collection, fresh), name=f"metrics of {name(trial)}"
        )
        return None

    async def recorded(self, trial: Obj) -> dict[str, Summary]:
        """What was filed, where there is no log to read (any more)."""
        store = await self._store()
        return summarise(await store.read(namespace(trial), uid(trial)))

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

    async def _collect(self, trial: Obj, pod: Obj, collection: _Collection, fresh: bool) -> None:
        problem = ""
        if not fresh:
            await (await self._store()).forget(namespace(trial), uid(trial))
        for attempt in range(_ATTEMPTS):
            try:
                await self._read_log(trial, pod, collection)
                problem = ""
                break
            except NotFound:
                problem = f"pod {name(pod)} was deleted before its log was read"
                collection.summaries = await self.recorded(trial)
                break
            except (ApiError, ConnectionError) as error:
                problem = f"the log of pod {name(pod)} could not be read: {error}"
                log.info("metrics of %s: %s", key_of(trial), error)
            except Exception as error:
                # One trial's trouble must not end the collections of all the others.
                problem = f"the metrics could not be kept: {error}"
                log.exception("metrics of %s", key_of(trial))
            await self._clock.sleep(_FIRST_DELAY * 2**attempt)
        collection.result = Collected(collection.summaries, problem)
        self._ended(key_of(trial))

    async def _read_log(self, trial: Obj, pod: Obj, collection: _Collection) -> None:
        collection.summaries, collection.count = {}, 0
        parse = parser(trial["spec"].get("metricsCollector") or {}, metric_names(trial))
        stream = self._client.logs(
            name(pod),
            namespace(pod),
            container=log_container(trial),
            follow=True,
            timestamps=True,
        )
        async for lines in _lines(stream):
            readings = list(_readings(lines, parse))
            if not readings:
                continue
            store = await self._store()
            await store.record(namespace(trial), uid(trial), collection.count, readings)
            collection.count += len(readings)
            collection.summaries = summarise(readings, collection.summaries)


def metric_names(trial: Obj) -> list[str]:
    """The metrics a trial is asked for, the objective first."""
    objective = trial["spec"].get("objective") or {}
    return [
        objective.get("objectiveMetricName", ""),
        *(objective.get("additionalMetricNames") or ()),
    ]


async def _lines(stream: AsyncIterator[bytes]) -> AsyncIterator[list[str]]:
    """Whole lines, in the batches they arrive in."""
    rest = b""
    async for chunk in stream:
        *whole, rest = (rest + chunk).split(b"\n")
        if whole:
            yield [line.decode(errors="replace") for line in whole]
    if rest:
        yield [rest.decode(errors="replace")]


def _readings(lines: Iterable[str], parse: LineParser) -> Iterable[Reading]:
    """The readings of log lines, each of which begins with the time it was written."""
    for line in lines:
        stamp, _, text = line.partition(" ")
        try:
            written = parse_time(stamp)
        except ValueError:
            written, text = None, line
        for reading in parse(text):
            yield Reading(reading.name, reading.value, reading.time or written)


def _run_of(pod: Obj, container: str) -> tuple[str, int] | None:
    """Which run of a container is there to be read, ``None`` before the first."""
    status = pod.get("status") or {}
    for key in ("containerStatuses", "initContainerStatuses"):
        for entry in status.get(key) or ():
            if entry.get("name") == container:
                state = entry.get("state") or {}
                if "running" in state or "terminated" in state:
                    return uid(pod), int(entry.get("restartCount") or 0)
    return None
