"""Collecting metrics from logs that break off, into a store that is away."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kubeling.kube.client import Client
from kubeling.kube.clock import SystemClock
from kubeling.kube.objects import Key, Obj
from kubeling.kube.transport import Request, WatchEvent
from kubeling.metadata.database import Database
from kubeling.tuning.collection import Collected, MetricsCollection
from kubeling.tuning.observations import ObservationStore

TRIAL: Obj = {
    "metadata": {"name": "a", "namespace": "team", "uid": "trial"},
    "spec": {
        "objective": {"type": "minimize", "objectiveMetricName": "loss"},
        "primaryContainerName": "main",
    },
}
POD: Obj = {
    "metadata": {"name": "a-pod", "namespace": "team", "uid": "pod"},
    "status": {"containerStatuses": [{"name": "main", "state": {"running": {}}}]},
}


class Breaking:
    """A log of many lines that is one line longer whenever it is asked for, and breaks off then."""

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._asked = 0

    async def send(self, request: Request) -> Obj:
        raise NotImplementedError(request.path)

    def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        raise NotImplementedError(request.path)

    async def close(self) -> None:
        return

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        self._asked += 1
        for step in range(1, min(self._asked, self._lines) + 1):
            yield f"2026-01-01T00:00:00Z loss={1 / step}\n".encode()
        if self._asked < self._lines:
            raise ConnectionResetError("the connection was lost")


class Hasty(SystemClock):
    """A clock for which every pause is over at once."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


async def collected(log: Breaking, store: ObservationStore) -> Collected:
    async def opened() -> ObservationStore:
        return store

    news: asyncio.Queue[Key] = asyncio.Queue()
    collection = MetricsCollection(Client(log), Hasty(), opened, news.put_nowait)
    async with asyncio.TaskGroup() as group:
        collection.within(group)
        assert collection.follow(TRIAL, POD) is None
        await asyncio.wait_for(news.get(), 60)
        found = collection.follow(TRIAL, POD)
    assert found is not None
    return found


def store_in(folder: Path) -> ObservationStore:
    database = Database(f"sqlite:///{folder / 'metadata.db'}")
    database.open()
    return ObservationStore(lambda: database)


async def test_a_log_that_gets_on_may_break_off_as_often_as_it_likes(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    found = await collected(Breaking(20), store)
    assert (found.problem, found.summaries["loss"].min) == ("", "0.05")
    assert len(await store.read("team", "trial")) == 20


async def test_a_disk_that_is_full_for_some_minutes_costs_no_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, refusals = store_in(tmp_path), iter(range(30))
    record = store.record

    async def full(*args: Any) -> None:
        if next(refusals, None) is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        await record(*args)

    monkeypatch.setattr(store, "record", full)
    found = await collected(Breaking(1), store)
    assert (found.problem, found.summaries["loss"].min) == ("", "1.0")
    assert len(await store.read("team", "trial")) == 1
