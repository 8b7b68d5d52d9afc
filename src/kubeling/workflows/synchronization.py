"""Gives Workflows their locks, and gets them back.

One table for all Workflows of the installation, in memory; it is filled from their statuses when
the first one asks. What a Workflow has got is written into its status before its pods are created,
so that after a crash nobody else gets it. Limits of semaphores are read whenever somebody asks.
From the first semaphore on their ConfigMaps are watched; the database is asked now and then, as
long as somebody waits for one of its own (upstream's ``pollSeconds``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from kubeling.component import Context
from kubeling.kube.objects import Key, Obj, name, namespace
from kubeling.kube.resources import CONFIG_MAPS
from kubeling.workflows.execution import Execution
from kubeling.workflows.gates import Gates
from kubeling.workflows.locks import Lock, LockTable, Refusal, holder_key
from kubeling.workflows.outage import Outage
from kubeling.workflows.resources import WORKFLOWS
from kubeling.workflows.sync_limits import SyncLimits

__all__ = ["LockKeeper", "serve_locks"]

log = logging.getLogger(__name__)

_FINAL: Final = ("Succeeded", "Failed", "Error")
_POLL: Final = 2.0


class LockKeeper:
    """The locks of all Workflows; ``wake`` asks for one to be reconciled."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._limits = SyncLimits(context)
        self._asking = asyncio.Event()
        self._informers = context.informers
        self._workflows = context.informers.of(WORKFLOWS)
        self._table = LockTable(lambda key: self.wake(key))
        self._filled = False
        self._watching = False
        self.wake: Callable[[Key], None] = lambda _: None

    async def serve(self, execution: Execution) -> bool:
        """As :func:`serve_locks`, with the limits as they are now."""
        if execution.gates.groups:
            self._fill()
            for locks in list(execution.gates.groups):
                await self._read_limits(locks)
        return serve_locks(self._table, execution)

    def release(self, key: Key) -> None:
        """Takes back everything from a Workflow that has ended or is no more."""
        self._table.release_workflow(key)

    def _fill(self) -> None:
        if self._filled:
            return
        self._filled = True
        for workflow in self._workflows.list():
            status = workflow.get("status") or {}
            if status.get("phase") not in _FINAL and status.get("synchronization"):
                for node_id, locks in Gates(workflow, status).holding.items():
                    for lock in locks:
                        self._table.restore(holder_key(workflow, node_id), lock)

    async def ask(self) -> None:
        """Keeps asking the database while somebody waits for a semaphore of its own."""
        outage = Outage(log, "limits of semaphores")
        while True:
            await self._asking.wait()
            await self._clock.sleep(_POLL)
            ours = self._table.semaphores(in_database=True)
            if not self._table.waiting_for(ours):
                self._asking.clear()
                continue
            try:
                found = await self._limits.of(ours)
            except Exception as error:
                # A database that is away for a while must not end the controller; until it is
                # back, limits are what they were.
                outage.goes_on(error)
                continue
            outage.is_over()
            for lock, limit in found.items():
                self._table.set_limit(lock, limit)

    async def _read_limits(self, locks: tuple[Lock, ...]) -> None:
        for lock in locks:
            if lock.kind == "Mutex":
                continue
            if lock.in_database:
                self._asking.set()
                # One that is taken away while somebody holds it is what it was.
                limit = (await self._limits.of([lock])).get(lock)
                if limit is not None or not self._table.holders(lock):
                    self._table.set_limit(lock, limit or 0)
            else:
                self._watch()
                self._table.set_limit(lock, await self._limit_in_config_map(lock))

    async def _limit_in_config_map(self, lock: Lock) -> int:
        where, config_map, key = lock.limit_source
        found = await self._client.find(CONFIG_MAPS, config_map, where)
        text = str(((found or {}).get("data") or {}).get(key) or "").strip()
        return int(text) if text.isdigit() else 0

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self._informers.of(CONFIG_MAPS).add_handler(self._config_map_changed)

    def _config_map_changed(self, _: Obj | None, new: Obj | None) -> None:
        if new is None:
            return
        changed = (namespace(new), name(new))
        ours = self._table.semaphores(in_database=False)
        affected = [lock for lock in ours if lock.limit_source[:2] == changed]
        for key in self._table.waiting_for(affected):
            self.wake(key)


def serve_locks(table: LockTable, execution: Execution) -> bool:
    """Takes back what has been released and tries what is waited for.

    Answers go to the execution, which has to advance if this returns true; then what it holds has
    to be written before anything is created.
    """
    gates = execution.gates
    while gates.released:
        table.release(gates.released.pop())
    answered = False
    slots = execution.free_slots
    for locks, group in list(gates.groups.items()):
        refusal: Refusal | None = None
        for node_id, waiting in list(group.items()):
            if waiting.needs_slot and slots is not None:
                if slots <= 0:
                    break
                slots -= 1
            refusal = _try(table, execution, node_id, locks)
            if refusal is not None and not refusal.final:
                _tell(table, execution, locks, refusal)
                break
            answered = True
    return answered


def _try(
    table: LockTable, execution: Execution, node_id: str, locks: tuple[Lock, ...]
) -> Refusal | None:
    workflow = execution.workflow
    refusal = table.acquire(
        holder_key(workflow, node_id),
        locks,
        int(execution.spec.get("priority") or 0),
        workflow["metadata"].get("creationTimestamp") or "",
    )
    if refusal is None:
        execution.answers.append(partial(execution.gates.opened, node_id))
    elif refusal.final:
        execution.answers.append(partial(execution.gates.failed, node_id, refusal.message))
    return refusal


def _tell(
    table: LockTable, execution: Execution, locks: tuple[Lock, ...], refusal: Refusal
) -> None:
    """Notes why the first has to wait, and why those do that have not been told yet."""
    holders = {lock: table.holders(lock) for lock in locks}
    gates = execution.gates
    first = next(iter(gates.groups[locks]))
    for node_id in dict.fromkeys([first, *gates.untold.pop(locks, {})]):
        execution.blocked(node_id, refusal, holders)
