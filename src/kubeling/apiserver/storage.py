"""The object store: durable writes, and reads and watches from memory.

Writes are handed to one thread that commits all it finds waiting in a single transaction (group
commit), so a thousand concurrent writers share one trip to the disk. Only when the transaction is
committed do memory, watchers and the caller learn of it: what anyone can see is durable.

The loop's thread alone touches memory. A write is decided under :meth:`Store.exclusive`, which
serialises writers of one object until their commit is known; so there are no lost updates and no
retries.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from kubeling.apiserver.database import Database, Row, StorageError
from kubeling.apiserver.records import Event, History, Record, StoreKey
from kubeling.apiserver.watcher import Watcher
from kubeling.kube.objects import Obj

__all__ = ["Store", "Write"]

log = logging.getLogger(__name__)

HISTORY_LIMIT: Final = 2000
HISTORY_SECONDS: Final = 300.0
_BATCH_LIMIT: Final = 2000

_encode: Final = msgspec.json.Encoder().encode


class Write(NamedTuple):
    """Store ``obj`` under ``key``, or delete what is there."""

    key: StoreKey
    obj: Obj | None


@dataclass(slots=True)
class _Transaction:
    writes: Sequence[Write]
    rows: list[Row]
    done: asyncio.Future[None]


class _Turn:
    """Whose turn it is to write one object."""

    __slots__ = ("pending", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.pending: asyncio.Future[None] | None = None


class Store:
    """All objects of one server.

    Guarantees: a write that returned is committed; reads and watches see committed states only, in
    one global order of versions; a watch misses nothing and repeats nothing; several writes given
    together happen together or not at all. Cancelling a write leaves it to happen or not, never
    half.
    """

    def __init__(self, database: Database, *, history_limit: int = HISTORY_LIMIT) -> None:
        self._database = database
        self._history_limit = history_limit
        self._objects: dict[str, dict[str, dict[str, Record]]] = {}
        self._histories: dict[str, History] = {}
        self._watchers: dict[str, set[Watcher]] = {}
        self._listeners: dict[str, list[Callable[[Event], None]]] = {}
        self._turns: dict[StoreKey, _Turn] = {}
        self._inbox: queue.SimpleQueue[_Transaction | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        for row in database.load():
            key = StoreKey(*row[:3])
            self._keep(Record(key, row.version, encoded=row.value or b""))
        self.version = self._assigned = self._floor = database.version()

    @classmethod
    def open(
        cls, path: Path, *, power_loss_safe: bool = False, history_limit: int = HISTORY_LIMIT
    ) -> Store:
        """Opens the store in a file; raises :class:`StorageError` in words for people."""
        database = Database(path, power_loss_safe=power_loss_safe)
        return cls(database, history_limit=history_limit)

    def start(self) -> None:
        """Begins to take writes; call from the loop that will use the store."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._commit_forever, name="store", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Commits what is waiting, ends all watches and closes the file."""
        self.end_watches()
        if self._thread is not None:
            self._inbox.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        self._database.close()

    def end_watches(self) -> None:
        """Ends every watch, as clients must expect at any time."""
        for watchers in list(self._watchers.values()):
            for watcher in tuple(watchers):
                watcher.close()

    # --- reading ---------------------------------------------------------------------------

    def get(self, key: StoreKey) -> Record | None:
        """The committed state of one object."""
        namespaces = self._objects.get(key.resource)
        names = namespaces.get(key.namespace) if namespaces else None
        return names.get(key.name) if names else None

    def list(self, resource: str, namespace: str = "") -> list[Record]:
        """The committed objects of a resource, or of one namespace, ordered by key."""
        namespaces = self._objects.get(resource, {})
        if namespace:
            return _ordered(namespaces.get(namespace, {}))
        return [record for one in sorted(namespaces) for record in _ordered(namespaces[one])]

    def list_at(self, resource: str, namespace: str, version: int) -> Sequence[Record]:
        """As :meth:`list`, as of an earlier version; raises ``WatchExpired`` if forgotten."""
        current = {record.key: record for record in self.list(resource, namespace)}
        for key, record in self._history(resource).undo(version).items():
            if namespace and key.namespace != namespace:
                continue
            if record is None:
                current.pop(key, None)
            else:
                current[key] = record
        return [current[key] for key in sorted(current)]

    def count(self, resource: str, namespace: str = "") -> int:
        """How many objects of a resource there are."""
        namespaces = self._objects.get(resource, {})
        if namespace:
            return len(namespaces.get(namespace, ()))
        return sum(len(names) for names in namespaces.values())

    def resources(self) -> Sequence[str]:
        """The resources of which there are objects."""
        return [resource for resource, found in self._objects.items() if any(found.values())]

    def watchers(self) -> dict[str, int]:
        """How many watches are open, by resource."""
        return {resource: len(found) for resource, found in self._watchers.items() if found}

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

    def expire_history(self, seconds: float = HISTORY_SECONDS) -> None:
        """Forgets events older than ``seconds``; the owner calls it now and then."""
        before = time.monotonic() - seconds
        for history in self._histories.values():
            history.expire(before)

    # --- writing ---------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def exclusive(self, key: StoreKey) -> AsyncIterator[Record | None]:
        """The right to write one object, and its state; in order of asking.

        It lasts until the writes made under it are committed, even if the caller is cancelled.
        """
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = _Turn()
        else:
            await self._queue_for(key, turn)
        try:
            yield self.get(key)
        finally:
            pending, turn.pending = turn.pending, None
            if pending is None or pending.done():
                self._next_turn(key, turn)
            else:
                pending.add_done_callback(lambda _: self._next_turn(key, turn))

    async def write(self, *writes: Write) -> None:
        """Commits all writes together; the objects get their ``resourceVersion`` and are ours.

        Raises :class:`StorageError` if nothing was written.
        """
        if self._thread is None or self._loop is None:
            raise StorageError(f"{self._database.path} is closed")
        done: asyncio.Future[None] = self._loop.create_future()
        rows = [self._row(write) for write in writes]
        for write in writes:
            turn = self._turns.get(write.key)
            if turn is not None:
                turn.pending = done
        self._inbox.put(_Transaction(writes, rows, done))
        await asyncio.shield(done)

    def _row(self, write: Write) -> Row:
        self._assigned += 1
        if write.obj is None:
            return Row(*write.key, self._assigned, None)
        write.obj["metadata"]["resourceVersion"] = str(self._assigned)
        return Row(*write.key, self._assigned, _encode(write.obj))

    async def _queue_for(self, key: StoreKey, turn: _Turn) -> None:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        turn.waiting.append(ready)
        try:
            await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled():
                self._next_turn(key, turn)
            else:
                turn.waiting.remove(ready)
            raise

    def _next_turn(self, key: StoreKey, turn: _Turn) -> None:
        if turn.waiting:
            turn.waiting.popleft().set_result(None)
        else:
            self._turns.pop(key, None)

    # --- committing ------------------------------------------------------------------------

    def _commit_forever(self) -> None:
        """The writer thread: everything that waits becomes one transaction."""
        assert self._loop is not None
        stopping = False
        while not stopping:
            taken = self._inbox.get()
            batch: list[_Transaction] = []
            while taken is not None:
                batch.append(taken)
                if len(batch) >= _BATCH_LIMIT:
                    break
                try:
                    taken = self._inbox.get_nowait()
                except queue.Empty:
                    break
            stopping = taken is None
            if batch:
                error = self._commit(batch)
                self._loop.call_soon_threadsafe(self._publish, batch, error)

    def _commit(self, batch: Sequence[_Transaction]) -> StorageError | None:
        rows = [row for transaction in batch for row in transaction.rows]
        try:
            self._database.commit(rows, rows[-1].version)
        except StorageError as error:
            return error
        except Exception as error:
            # Whatever happens, the writers are told and the thread goes on.
            log.exception("commit failed")
            return StorageError(f"{self._database.path}: {error}")
        return None

    def _publish(self, batch: Iterable[_Transaction], error: StorageError | None) -> None:
        for transaction in batch:
            if error is None:
                for write, row in zip(transaction.writes, transaction.rows, strict=True):
                    self._remember(write, row.version)
            if transaction.done.cancelled():
                continue
            if error is None:
                transaction.done.set_result(None)
            else:
                transaction.done.set_exception(error)
                # A cancelled caller no longer asks.
                transaction.done.exception()

    def _remember(self, write: Write, version: int) -> None:
        self.version = version
        previous = self.get(write.key)
        if write.obj is not None:
            record = Record(write.key, version, write.obj)
            self._keep(record)
            event = Event("MODIFIED" if previous else "ADDED", record, previous, version)
        elif previous is not None:
            del self._objects[write.key.resource][write.key.namespace][write.key.name]
            last = Record(write.key, version, _at_version(previous.obj, version))
            event = Event("DELETED", last, previous, version)
        else:
            return
        self._history(write.key.resource).append(event)
        for listener in self._listeners.get(write.key.resource, ()):
            listener(event)
        for watcher in tuple(self._watchers.get(write.key.resource, ())):
            watcher.offer(event)

    def _keep(self, record: Record) -> None:
        resource, namespace, name = record.key
        self._objects.setdefault(resource, {}).setdefault(namespace, {})[name] = record

    def _history(self, resource: str) -> History:
        history = self._histories.get(resource)
        if history is None:
            history = self._histories[resource] = History(self._floor, self._history_limit)
        return history


def _ordered(names: dict[str, Record]) -> list[Record]:
    return [names[name] for name in sorted(names)]


def _at_version(obj: Obj, version: int) -> Obj:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}
