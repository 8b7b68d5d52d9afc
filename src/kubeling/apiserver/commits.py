"""Where transactions reach the disk: on the loop itself, or on a thread beside it.

Everything that is written in one turn of the loop becomes one commit (group commit). A commit that
does not wait for the disk is a copy into the operating system's cache and takes less time than
waking a thread and hearing back from it, so small ones are made on the spot. Large ones, those
that do wait for the disk, and folding the log back into the file are the thread's; what is written
meanwhile waits for it and goes together.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from kubeling.apiserver.database import ArtifactError, Database, Row

__all__ = ["Committer", "Transaction"]

log = logging.getLogger(__name__)

_BATCH_LIMIT: Final = 2000
"""The most rows, but for those of one transaction, in one commit."""
_INLINE_BYTES: Final = 128 * 1024
"""The most that is written without the thread."""


class Transaction(Protocol):
    """Rows that are committed together or not at all."""

    @property
    def rows(self) -> Sequence[Row]: ...


T = TypeVar("T", bound=Transaction)


class Committer(Generic[T]):
    """Commits transactions in the order they are given, and tells ``publish`` on the loop.

    ``publish`` gets the transactions of one commit and what went wrong with it, if anything.
    """

    def __init__(
        self, database: Database, publish: Callable[[Sequence[T], ArtifactError | None], None]
    ) -> None:
        self._database = database
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._waiting: list[T] = []
        self._scheduled = False
        self._away = False
        """Whether the thread has the database."""
        self._drained: asyncio.Future[None] | None = None
        self._inbox: queue.SimpleQueue[Sequence[T] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    def submit(self, transaction: T) -> None:
        """Commits this, and what else is given in this turn of the loop, when the turn ends."""
        self._waiting.append(transaction)
        if not (self._scheduled or self._away):
            self._scheduled = True
            self._loop.call_soon(self._flush)

    async def stop(self) -> None:
        """Commits what waits and ends the thread."""
        if self._waiting or self._away:
            self._drained = self._loop.create_future()
            await self._drained
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    # --- on the loop -----------------------------------------------------------------------

    def _flush(self) -> None:
        self._scheduled = False
        if self._away or not self._waiting:
            return
        batch = self._take()
        if self._database.waits_for_disk or _size(batch) > _INLINE_BYTES:
            self._hand_over(batch)
            return
        error = self._commit(batch)
        if self._database.checkpoint_due:
            self._hand_over(())
        elif self._waiting:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        self._publish(batch, error)
        self._tell_drained()

    def _take(self) -> Sequence[T]:
        rows = 0
        for count, transaction in enumerate(self._waiting, 1):
            rows += len(transaction.rows)
            if rows >= _BATCH_LIMIT:
                batch, self._waiting = self._waiting[:count], self._waiting[count:]
                return batch
        batch, self._waiting = self._waiting, []
        return batch

    def _hand_over(self, batch: Sequence[T]) -> None:
        self._away = True
        self._inbox.put(batch)

    def _returned(self) -> None:
        self._away = False
        self._flush()
        self._tell_drained()

    def _tell_drained(self) -> None:
        if self._drained is not None and not (self._waiting or self._away):
            self._drained.set_result(None)
            self._drained = None

    # --- anywhere --------------------------------------------------------------------------

    def _commit(self, batch: Sequence[T]) -> ArtifactError | None:
        rows = [row for transaction in batch for row in transaction.rows]
        try:
            self._database.commit(rows)
        except ArtifactError as error:
            return error
        except Exception as error:
            # Whatever happens, the writers are told and others can go on.
            log.exception("commit failed")
            return ArtifactError(f"{self._database.path}: {error}")
        return None

    # --- on the thread ---------------------------------------------------------------------

    def _work(self) -> None:
        while (batch := self._inbox.get()) is not None:
            if batch:
                error = self._commit(batch)
                self._loop.call_soon_threadsafe(self._publish, batch, error)
            if self._database.checkpoint_due:
                self._checkpoint()
            self._loop.call_soon_threadsafe(self._returned)

    def _checkpoint(self) -> None:
        try:
            self._database.checkpoint()
        except ArtifactError as error:
            # Nothing is lost: the log holds it all, and the next attempt folds it in.
            log.warning("the write-ahead log grows: %s", error)


def _size(batch: Sequence[Transaction]) -> int:
    return sum(len(row.value) for one in batch for row in one.rows if row.value is not None)
