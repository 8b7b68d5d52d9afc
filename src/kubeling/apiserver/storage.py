"""The object store: durable writes, and reads and watches from memory.

Writes made at the same time share one transaction (:mod:`~kubeling.apiserver.commits`). Only when
it is committed do memory, watchers and the caller learn of it: what anyone can see is durable.

The loop's thread alone touches memory. A write is decided under :meth:`Store.exclusive`, which
serialises writers of one object until their commit is known; so there are no lost updates and no
retries.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from types import TracebackType
from typing import Final, NamedTuple

import msgspec

from kubeling.apiserver.commits import Committer
from kubeling.apiserver.database import ArtifactError, Database, Row
from kubeling.apiserver.indices import EVERYWHERE, Narrowing
from kubeling.apiserver.memory import INDEX_FROM, Memory
from kubeling.apiserver.ordered import BEGINNING, Position
from kubeling.apiserver.records import Decoded, Event, History, Record, StoreKey
from kubeling.apiserver.watcher import Watcher
from kubeling.kube.objects import Obj

__all__ = ["Store", "Write"]

HISTORY_LIMIT: Final = 2000
HISTORY_SECONDS: Final = 300.0

_encode: Final = msgspec.json.Encoder().encode


class Write(NamedTuple):
    """Store ``obj`` under ``key``, or delete what is there."""

    key: StoreKey
    obj: Obj | None


@dataclass(slots=True, eq=False)
class _Transaction:
    writes: Sequence[Write]
    rows: list[Row]
    done: asyncio.Future[None]
    finished: bool = False
    held: list[_Turn] = field(default_factory=list)
    """Turns that end when the outcome is known."""


@dataclass(slots=True, eq=False)
class _Turn:
    """Whose turn it is to write one object."""

    key: StoreKey
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    pending: _Transaction | None = None


class _Exclusive:
    """The context manager behind :meth:`Store.exclusive`."""

    __slots__ = ("_key", "_store", "_turn")

    def __init__(self, store: Store, key: StoreKey) -> None:
        self._store = store
        self._key = key

    async def __aenter__(self) -> Record | None:
        self._turn = await self._store._begin_turn(self._key)
        return self._store.get(self._key)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._store._end_turn(self._turn)


class Store(Memory):
    """All objects of one server.

    Guarantees: a write that returned is committed; reads and watches see committed states only, in
    one global order of versions; a watch misses nothing and repeats nothing; several writes given
    together happen together or not at all. Cancelling a write leaves it to happen or not, never
    half.
    """

    def __init__(
        self,
        database: Database,
        *,
        history_limit: int = HISTORY_LIMIT,
        index_from: int = INDEX_FROM,
    ) -> None:
        super().__init__(index_from)
        self._database = database
        self._history_limit = history_limit
        self._histories: dict[str, History] = {}
        self._watchers: dict[str, set[Watcher]] = {}
        self._listeners: dict[str, list[Callable[[Event], None]]] = {}
        self._turns: dict[StoreKey, _Turn] = {}
        self._committer: Committer[_Transaction] | None = None
        self._decoded = Decoded()
        for row in database.load():
            # What thousands of objects share is kept once.
            key = StoreKey(intern(row.resource), intern(row.namespace), row.name)
            self._keep(Record(key, row.version, row.value or b"", self._decoded))
        self.version = self._assigned = self._floor = database.version()

    @classmethod
    def open(
        cls, path: Path, *, power_loss_safe: bool = False, history_limit: int = HISTORY_LIMIT
    ) -> Store:
        """Opens the store in a file; raises :class:`ArtifactError` in words for people."""
        database = Database(path, power_loss_safe=power_loss_safe)
        return cls(database, history_limit=history_limit)

    def start(self) -> None:
        """Begins to take writes; call from the loop that will use the store."""
        self._committer = Committer(self._database, self._publish)

    async def close(self) -> None:
        """Commits what is waiting, ends all watches and closes the file."""
        self.end_watches()
        committer, self._committer = self._committer, None
        if committer is not None:
            await committer.stop()
        self._database.close()

    def end_watches(self) -> None:
        """Ends every watch, as clients must expect at any time."""
        for watchers in list(self._watchers.values()):
            for watcher in tuple(watchers):
                watcher.close()

    def finish_watches(self, resource: str) -> None:
        """Ends the watches of a resource, each when it has delivered what has happened so far."""
        for watcher in tuple(self._watchers.get(resource, ())):
            watcher.finish()

    # --- reading ---------------------------------------------------------------------------

    def behind_at(
        self,
        version: int,
        resource: str,
        namespace: str,
        after: Position = BEGINNING,
        where: Narrowing = EVERYWHERE,
    ) -> Iterator[Record]:
        """As :meth:`behind`, as of a version; raises :class:`WatchExpired` if forgotten."""
        if version == self.version:
            return self.behind(resource, namespace, after, where)
        undone = self._history(resource).undo(version)
        same = (
            record
            for record in self.behind(resource, namespace, after, where)
            if record.key not in undone
        )
        return heapq.merge(same, _before(undone, namespace, after), key=_key)

    def count_at(self, version: int, resource: str, namespace: str, after: Position) -> int:
        """How many objects there were after a position."""
        count = self.count(resource, namespace, after)
        if version == self.version:
            return count
        undone = self._history(resource).undo(version)
        now = {key: self.get(key) for key in undone}
        return count + len(_before(undone, namespace, after)) - len(_before(now, namespace, after))

    def watchers(self) -> dict[str, int]:
        """How many watches are open, by resource."""
        return {resource: len(found) for resource, found in self._watchers.items() if found}

    def changes(self, resource: str, since: int) -> Sequence[Event]:
        """What was committed after a version; raises :class:`WatchExpired` if forgotten."""
        return self._history(resource).after(since)

    def watch(self, resource: str, since: int, namespace: str = "", name: str = "") -> Watcher:
        """Events after version ``since``; raises ``WatchExpired`` if some are forgotten."""
        watchers = self._watchers.setdefault(resource, set())
        backlog = self._history(resource).after(since)
        watcher = Watcher(namespace, name, backlog, watchers.discard)
        watchers.add(watcher)
        return watcher

    def subscribe(self, resource: str, listener: Callable[[Event], None]) -> None:
        """Calls ``listener`` for every object there is, then for every change as it commits.

        It is called before the writer learns of the commit, so an index kept this way is never
        behind what a client knows. It must be quick and may not raise.
        """
        for record in self.list(resource):
            listener(Event("ADDED", record, None, record.version))
        self._listeners.setdefault(resource, []).append(listener)

    def forget(self, seconds: float = HISTORY_SECONDS) -> None:
        """Forgets what is older than ``seconds``; the owner calls it now and then."""
        before = time.monotonic() - seconds
        self._decoded.expire(before)
        for history in self._histories.values():
            history.expire(before)

    # --- writing ---------------------------------------------------------------------------

    def exclusive(self, key: StoreKey) -> _Exclusive:
        """The right to write one object, and its state; in order of asking.

        It lasts until the writes made under it are committed, even if the caller is cancelled.
        """
        return _Exclusive(self, key)

    async def write(self, *writes: Write) -> None:
        """Commits all writes together; the objects get their ``resourceVersion`` and are ours.

        Raises :class:`ArtifactError` if nothing was written.
        """
        if self._committer is None:
            raise ArtifactError(f"{self._database.path} is closed")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        transaction = _Transaction(writes, [self._row(write) for write in writes], done)
        for write in writes:
            turn = self._turns.get(write.key)
            if turn is not None:
                turn.pending = transaction
        self._committer.submit(transaction)
        await done

    def _row(self, write: Write) -> Row:
        self._assigned += 1
        if write.obj is None:
            return Row(*write.key, self._assigned, None)
        write.obj["metadata"]["resourceVersion"] = str(self._assigned)
        return Row(*write.key, self._assigned, _encode(write.obj))

    async def _begin_turn(self, key: StoreKey) -> _Turn:
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = _Turn(key)
            return turn
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        turn.waiting.append(ready)
        try:
            await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled():
                self._next_turn(turn)
            else:
                turn.waiting.remove(ready)
            raise
        return turn

    def _end_turn(self, turn: _Turn) -> None:
        pending, turn.pending = turn.pending, None
        if pending is None or pending.finished:
            self._next_turn(turn)
        else:
            pending.held.append(turn)

    def _next_turn(self, turn: _Turn) -> None:
        if turn.waiting:
            turn.waiting.popleft().set_result(None)
        else:
            self._turns.pop(turn.key, None)

    # --- committed -------------------------------------------------------------------------

    def _publish(self, batch: Iterable[_Transaction], error: ArtifactError | None) -> None:
        for transaction in batch:
            if error is None:
                for write, row in zip(transaction.writes, transaction.rows, strict=True):
                    self._remember(write, row)
            transaction.finished = True
            # A cancelled caller no longer asks.
            if not transaction.done.done():
                if error is None:
                    transaction.done.set_result(None)
                else:
                    transaction.done.set_exception(error)
                    transaction.done.exception()
            for turn in transaction.held:
                self._next_turn(turn)

    def _remember(self, write: Write, row: Row) -> None:
        self.version = version = row.version
        previous = self.get(write.key)
        if write.obj is not None and row.value is not None:
            record = Record(write.key, version, row.value, self._decoded, write.obj)
            self._keep(record)
            event = Event("MODIFIED" if previous else "ADDED", record, previous, version)
        elif previous is not None:
            self._drop(write.key)
            gone = _at_version(previous.obj, version)
            last = Record(write.key, version, _encode(gone), self._decoded, gone)
            event = Event("DELETED", last, previous, version)
        else:
            return
        self._history(write.key.resource).append(event)
        for listener in self._listeners.get(write.key.resource, ()):
            listener(event)
        for watcher in tuple(self._watchers.get(write.key.resource, ())):
            watcher.offer(event)

    def _history(self, resource: str) -> History:
        history = self._histories.get(resource)
        if history is None:
            history = self._histories[resource] = History(self._floor, self._history_limit)
        return history


def _before(
    undone: Mapping[StoreKey, Record | None], namespace: str, after: Position
) -> Sequence[Record]:
    """Of what changed, what there is after a position, in order."""
    found = [
        record
        for key, record in undone.items()
        if record is not None and namespace in ("", key.namespace) and key[1:] > after
    ]
    return sorted(found, key=_key)


def _key(record: Record) -> StoreKey:
    return record.key


def _at_version(obj: Obj, version: int) -> Obj:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}
