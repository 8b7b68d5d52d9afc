"""Mutexes and semaphores: who holds what, and who is next.

The table is in memory; what is in the Workflows' statuses puts it together again after a restart.
Queues go by priority, then by when the Workflow was created; whoever needs several locks gets all
of them or none (upstream: ``workflow/sync``). Locks "in a database" are among them: the database
has their limits, and one controller decides who holds them (decision 0037).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from kubeling.kube.objects import Key, Obj

__all__ = ["Lock", "LockTable", "Refusal", "holder_key", "locks_of"]

_DATABASE: Final = "Database"


class Lock(NamedTuple):
    """One lock by the name that statuses and messages use."""

    name: str
    kind: Literal["Semaphore", "Mutex"]

    @property
    def in_database(self) -> bool:
        """Whether it is one of those that the database knows of."""
        return self.name.split("/", 2)[1] == _DATABASE

    @property
    def limit_source(self) -> tuple[str, str, str]:
        """Namespace, name and key of the ConfigMap entry that has a semaphore's limit."""
        where, _, config_map, key = self.name.split("/", 3)
        return where, config_map, key

    @property
    def limit_row(self) -> str:
        """The name under which the database has a semaphore's limit (``sync_limit``)."""
        where, _, key = self.name.split("/", 2)
        return f"{where}/{key}"


class Refusal(NamedTuple):
    """Why a lock cannot be had; ``final`` if waiting would not help."""

    lock: str
    message: str
    final: bool = False


def locks_of(synchronization: Obj, namespace: str) -> tuple[Lock, ...]:
    """The locks a template or Workflow asks for, semaphores first."""
    found: list[Lock] = []
    for semaphore in synchronization.get("semaphores") or ():
        where = semaphore.get("namespace") or namespace
        if row := semaphore.get("database"):
            found.append(Lock(f"{where}/{_DATABASE}/{row.get('key')}", "Semaphore"))
            continue
        source = semaphore.get("configMapKeyRef") or {}
        name = f"{where}/ConfigMap/{source.get('name')}/{source.get('key')}"
        found.append(Lock(name, "Semaphore"))
    for mutex in synchronization.get("mutexes") or ():
        where = mutex.get("namespace") or namespace
        kept = _DATABASE if mutex.get("database") else "Mutex"
        found.append(Lock(f"{where}/{kept}/{mutex.get('name')}", "Mutex"))
    return tuple(dict.fromkeys(found))


def holder_key(workflow: Obj, node_id: str) -> str:
    """How a holder is named: the Workflow, or one of its nodes."""
    metadata = workflow["metadata"]
    whole = f"{metadata['namespace']}/{metadata['name']}"
    return f"{whole}/{node_id}" if node_id else whole


def _workflow_of(holder: str) -> Key:
    where, name, *_ = holder.split("/")
    return Key(where, name)


@dataclass(slots=True)
class _State:
    limit: int
    holders: dict[str, None] = field(default_factory=dict)
    queue: list[tuple[int, str, int, str]] = field(default_factory=list)
    queued: set[str] = field(default_factory=set)

    @property
    def free(self) -> int:
        return self.limit - len(self.holders)

    def first(self) -> str | None:
        while self.queue and self.queue[0][3] not in self.queued:
            heapq.heappop(self.queue)
        return self.queue[0][3] if self.queue else None


class LockTable:
    """All locks of an installation; ``wake`` is told which Workflow may try again."""

    def __init__(self, wake: Callable[[Key], Any]) -> None:
        self._wake = wake
        self._states: dict[Lock, _State] = {}
        self._order = 0

    def set_limit(self, lock: Lock, limit: int) -> None:
        """Sets how many may hold a semaphore; those who do keep it."""
        state = self._state(lock)
        grown = limit > state.limit
        state.limit = limit
        if grown:
            self._notify(state)

    def holders(self, lock: Lock) -> list[str]:
        """Who holds a lock."""
        state = self._states.get(lock)
        return list(state.holders) if state is not None else []

    def restore(self, holder: str, lock: Lock) -> None:
        """Takes over what a status says, whatever the limit is now."""
        self._state(lock).holders[holder] = None

    def acquire(
        self, holder: str, locks: Sequence[Lock], priority: int, created: str
    ) -> Refusal | None:
        """Takes all the locks or, returning why, none; then the holder is in their queues."""
        wanted = [(lock, self._state(lock)) for lock in locks]
        for lock, state in wanted:
            if state.limit == 0:
                message = f"failed to initialize semaphore {lock.name} with limit"
                return Refusal(lock.name, message, final=True)
            if holder not in state.holders and holder not in state.queued:
                self._order += 1
                state.queued.add(holder)
                heapq.heappush(state.queue, (-priority, created, self._order, holder))
        for lock, state in wanted:
            if not self._may_take(holder, state):
                left = f"{state.free}/{state.limit}"
                message = f"Waiting for {lock.name} lock. Lock status: {left}"
                return Refusal(lock.name, message)
        for _, state in wanted:
            state.queued.discard(holder)
            state.holders[holder] = None
            self._notify(state)
        return None

    def release(self, holder: str) -> None:
        """Gives back whatever a holder has or waits for."""
        for state in self._states.values():
            self._give_back(state, holder)

    def release_workflow(self, key: Key) -> None:
        """Gives back whatever a Workflow and its nodes have or wait for."""
        for state in self._states.values():
            for holder in [h for h in (*state.holders, *state.queued) if _workflow_of(h) == key]:
                self._give_back(state, holder)

    def waiting_for(self, locks: Iterable[Lock]) -> set[Key]:
        """The Workflows in the queues of these locks."""
        found = [self._states[lock] for lock in locks if lock in self._states]
        return {_workflow_of(holder) for state in found for holder in state.queued}

    def semaphores(self, *, in_database: bool) -> list[Lock]:
        """The semaphores that anybody has asked for."""
        return [
            lock
            for lock in self._states
            if lock.kind == "Semaphore" and lock.in_database == in_database
        ]

    def _state(self, lock: Lock) -> _State:
        state = self._states.get(lock)
        if state is None:
            state = self._states[lock] = _State(1 if lock.kind == "Mutex" else 0)
        return state

    def _may_take(self, holder: str, state: _State) -> bool:
        if holder in state.holders:
            return True
        first = state.first()
        if first is not None and _workflow_of(first) != _workflow_of(holder):
            if state.free > 0:
                self._wake(_workflow_of(first))
            return False
        return state.free > 0

    def _give_back(self, state: _State, holder: str) -> None:
        state.queued.discard(holder)
        if holder in state.holders:
            del state.holders[holder]
            self._notify(state)

    def _notify(self, state: _State) -> None:
        """Wakes the first in the queue; when it has got the lock, the next is told."""
        first = state.first()
        if state.free > 0 and first is not None:
            self._wake(_workflow_of(first))
