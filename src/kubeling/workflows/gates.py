"""What a node waits for before it may begin: its locks, and a look into its cache.

Both need the world outside, so the execution only says what it wants; whoever runs it answers with
:meth:`Gates.opened`, :meth:`Gates.blocked`, :meth:`Gates.cached` or :meth:`Gates.failed` and lets
the execution advance again. A node with locks is ``Pending`` with a message until then, and its
locks are given back when it ends. The id ``""`` stands for the Workflow itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from kubeling.kube.objects import Obj
from kubeling.workflows.locks import Lock, holder_key, locks_of
from kubeling.workflows.resources import MemoizationStatus, Node, Outputs, SynchronizationStatus

__all__ = ["Gates", "MemoRequest", "Waiting"]

WORKFLOW: Final = ""


@dataclass(slots=True)
class Waiting:
    """Who waits for which locks; ``go`` begins, ``fail`` ends it with a message."""

    locks: tuple[Lock, ...]
    go: Callable[[], None]
    fail: Callable[[str], None]
    needs_slot: bool = False
    lock: str = ""
    holders: dict[Lock, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class MemoRequest:
    """A node that wants to know whether its outputs are in a cache."""

    cache: str
    key: str
    max_age: str
    go: Callable[[], None]
    hit: Callable[[Outputs], None]
    fail: Callable[[str], None]
    node: Node


class Gates:
    """The gates of one Workflow's nodes."""

    def __init__(self, workflow: Obj, status: Obj) -> None:
        self._workflow = workflow
        self.holding: dict[str, tuple[Lock, ...]] = _recorded(status, workflow)
        self.waiting: dict[str, Waiting] = {}
        self.groups: dict[tuple[Lock, ...], dict[str, Waiting]] = {}
        self.untold: dict[tuple[Lock, ...], dict[str, None]] = {}
        self.lookups: dict[str, MemoRequest] = {}
        self.released: list[str] = []
        self.changed = False

    def forget(self) -> None:
        """Before the frames are built again: everybody asks anew."""
        self.waiting.clear()
        self.groups.clear()
        self.untold.clear()
        self.lookups.clear()

    def lock(self, node_id: str, synchronization: Obj, waiting: Waiting) -> bool:
        """Whether the node has to wait for its locks; ``waiting.go`` is called when it has them."""
        if node_id in self.holding:
            return False
        waiting.locks = locks_of(synchronization, self._workflow["metadata"]["namespace"])
        if not waiting.locks:
            return False
        self.waiting[node_id] = waiting
        self.groups.setdefault(waiting.locks, {})[node_id] = waiting
        self.untold.setdefault(waiting.locks, {})[node_id] = None
        return True

    def _leave(self, node_id: str) -> Waiting | None:
        waiting = self.waiting.pop(node_id, None)
        if waiting is not None:
            group = self.groups[waiting.locks]
            del group[node_id]
            self.untold.get(waiting.locks, {}).pop(node_id, None)
            if not group:
                del self.groups[waiting.locks]
                self.untold.pop(waiting.locks, None)
        return waiting

    def opened(self, node_id: str) -> None:
        """The locks are the node's."""
        waiting = self._leave(node_id)
        if waiting is None:
            self.released.append(holder_key(self._workflow, node_id))
            return
        self.holding[node_id] = waiting.locks
        self.changed = True
        waiting.go()

    def blocked(self, node_id: str, lock: str, holders: dict[Lock, list[str]]) -> bool:
        """A lock cannot be had yet; whether that is news."""
        waiting = self.waiting[node_id]
        news = waiting.lock != lock or waiting.holders != holders
        waiting.lock, waiting.holders = lock, holders
        self.changed = self.changed or news
        return news

    def failed(self, node_id: str, message: str) -> None:
        """The locks or the cache can never be had."""
        found = self._leave(node_id) or self.lookups.pop(node_id, None)
        if found is not None:
            found.fail(message)

    def cached(self, node_id: str, outputs: Outputs | None) -> None:
        """What is in the cache; ``None`` if nothing is."""
        request = self.lookups.pop(node_id, None)
        if request is None:
            return
        hit = outputs is not None
        status = MemoizationStatus(hit=hit, key=request.key, cache_name=request.cache)
        request.node.memoization_status = status
        if outputs is not None:
            request.hit(outputs)
        else:
            request.go()

    def ended(self, node_id: str) -> None:
        """The node has ended, or waits no longer."""
        self.lookups.pop(node_id, None)
        if self._leave(node_id) or self.holding.pop(node_id, None):
            self.released.append(holder_key(self._workflow, node_id))
            self.changed = True

    def close(self) -> None:
        """The Workflow has ended; whoever keeps the locks takes back all of them."""
        self.forget()
        self.holding.clear()
        self.changed = True

    def status(self) -> Obj:
        """``status.synchronization``, empty if nothing is held or waited for."""
        semaphores: dict[str, dict[str, list[str]]] = {"holding": {}, "waiting": {}}
        mutexes: dict[str, list[Obj]] = {"holding": [], "waiting": []}
        for node_id, locks in self.holding.items():
            holder = holder_key(self._workflow, node_id)
            for name, kind in locks:
                if kind == "Mutex":
                    mutexes["holding"].append({"mutex": name, "holder": holder})
                else:
                    semaphores["holding"].setdefault(name, []).append(holder)
        for waiting in self.waiting.values():
            for lock in waiting.locks if waiting.lock else ():
                holders, name = waiting.holders.get(lock) or [], lock.name
                if lock.kind == "Semaphore":
                    semaphores["waiting"][name] = holders
                elif holders and {"mutex": name, "holder": holders[0]} not in mutexes["waiting"]:
                    mutexes["waiting"].append({"mutex": name, "holder": holders[0]})
        return _without_empty(
            {
                "semaphore": {
                    side: [{"semaphore": name, "holders": who} for name, who in found.items()]
                    for side, found in semaphores.items()
                },
                "mutex": mutexes,
            }
        )


def _without_empty(status: Obj) -> Obj:
    shown: Obj = {}
    for kind, sides in status.items():
        kept = {side: entries for side, entries in sides.items() if entries}
        if kept:
            shown[kind] = kept
    return shown


def _recorded(status: Obj, workflow: Obj) -> dict[str, tuple[Lock, ...]]:
    """The locks that a status says are held, by node id."""
    said = msgspec.convert(status.get("synchronization") or {}, SynchronizationStatus)
    found: dict[str, list[Lock]] = {}
    own = holder_key(workflow, WORKFLOW)

    def note(holder: str, lock: Lock) -> None:
        found.setdefault(holder.removeprefix(own).removeprefix("/"), []).append(lock)

    for entry in _entries(said.semaphore):
        for holder in entry.get("holders") or ():
            note(holder, Lock(entry["semaphore"], "Semaphore"))
    for entry in _entries(said.mutex):
        note(entry["holder"], Lock(entry["mutex"], "Mutex"))
    return {node_id: tuple(locks) for node_id, locks in found.items()}


def _entries(part: Any) -> list[Obj]:
    listed: list[Obj] = (part or {}).get("holding") or []
    return listed
