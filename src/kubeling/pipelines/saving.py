"""Storing what a run has become, and telling of it: rows, the Run's status, events.

In a burst of short steps rows are written together, a few times a second. Nothing is lost with
those that were not: the pods of steps stay until their Run is deleted, so a controller that takes
the run up again finds what the rows do not say yet. That the run has moved on, or ended, is written
at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from kubeling.kube.client import Client
from kubeling.kube.clock import Clock
from kubeling.kube.events import EventRecorder
from kubeling.kube.objects import name, namespace, uid
from kubeling.pipelines.active import ActiveRun
from kubeling.pipelines.cache_lookup import explain
from kubeling.pipelines.nodes import TaskNode
from kubeling.pipelines.records import RunRecord
from kubeling.pipelines.resources import RUNS
from kubeling.pipelines.run_state import next_record, run_status

if TYPE_CHECKING:
    from kubeling.pipelines.store import RunStore

__all__ = ["SAVE_INTERVAL", "WRITE_INTERVAL", "RunSaving"]

SAVE_INTERVAL: Final = 0.1
WRITE_INTERVAL: Final = 0.25
_WRITE_SHARE: Final = 20
"""How many times as long as writing a status takes has to pass until the next one."""
_RARELY: Final = 10.0


class RunSaving:
    """Stores runs and tells of them, in the order that makes a crash harmless: rows first."""

    def __init__(self, client: Client, recorder: EventRecorder, clock: Clock) -> None:
        self._client = client
        self._recorder = recorder
        self._clock = clock

    async def save(self, active: ActiveRun, store: RunStore) -> None:
        """Stores and tells what is due."""
        record = next_record(active.record, active.execution, self._clock.now())
        waited = self._clock.monotonic() - active.saved_at
        if record != active.record or (active.execution.changed and waited >= SAVE_INTERVAL):
            await self._store(active, store, record)
        moved = record.state != (active.run.get("status") or {}).get("state")
        waited = self._clock.monotonic() - active.written_at
        if active.unwritten and (moved or waited >= active.write_interval):
            await self._write(active)

    async def save_left(self, active: ActiveRun, store: RunStore) -> None:
        """Stores what has not been yet of a run that is given up."""
        if active.execution.changed:
            await self._store(active, store, active.record)

    def due(self, active: ActiveRun) -> Iterator[float]:
        """In how many seconds there is something to do."""
        if active.execution.changed:
            yield max(0.0, active.saved_at + SAVE_INTERVAL - self._clock.monotonic())
        if active.unwritten:
            yield active.write_interval

    async def _store(self, active: ActiveRun, store: RunStore, record: RunRecord) -> None:
        execution, before = active.execution, active.record
        await explain(store, execution)
        changed = [execution.nodes[path] for path in sorted(execution.changed)]
        now = self._clock.now()
        await store.save(active.run, changed, record, now, execution.key_parts)
        execution.changed.clear()
        execution.forget_keys(changed)
        active.record = record
        active.saved_at = self._clock.monotonic()
        active.unwritten = True
        await self._announce(active, changed, record, before)

    async def _write(self, active: ActiveRun) -> None:
        run = active.run
        status = run_status(
            run.get("status") or {}, active.record, active.execution, uid(run), self._clock.now()
        )
        began = self._clock.monotonic()
        await self._client.patch_status(RUNS, name(run), status, namespace(run))
        active.written_at = self._clock.monotonic()
        # The object holds the whole pipeline: a large one is told of less often.
        spent = (active.written_at - began) * _WRITE_SHARE
        active.write_interval = min(max(WRITE_INTERVAL, spent), _RARELY)
        active.unwritten = False

    async def _announce(
        self, active: ActiveRun, changed: Sequence[TaskNode], record: RunRecord, before: RunRecord
    ) -> None:
        run = active.run
        for node in changed:
            if node.state == "FAILED" and node.kind == "container" and node.error is not None:
                text = f"Task {node.path} failed: {node.error.summary}"
                await self._recorder.warning(run, "TaskFailed", text)
        if record.state == before.state:
            return
        if record.state == "SUCCEEDED":
            await self._recorder.normal(run, "RunSucceeded", "All tasks have ended")
        elif record.state == "FAILED":
            await self._recorder.warning(run, "RunFailed", record.error)
        elif record.state == "RUNNING":
            await self._recorder.normal(run, "RunStarted", "The run's tasks begin")
