"""Watches in the metadata database: they outlive restarts, and go with their service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from kubeling.metadata.database import METADATA
from kubeling.serving.watching.watch import WatchState

if TYPE_CHECKING:
    from kubeling.metadata.database import Database

__all__ = ["WATCHES", "WatchStore"]

WATCHES: Final = sa.Table(
    "serving_watches",
    METADATA,
    sa.Column("service_uid", sa.String(36), primary_key=True),
    sa.Column("revision", sa.String(253), primary_key=True),
    sa.Column("saved", sa.BigInteger, nullable=False),
    sa.Column("state", sa.LargeBinary(2**24 - 1), nullable=False),
)
_TABLE: Final = WATCHES.c


class WatchStore:
    """The state of each revision, by its service's uid."""

    def __init__(self, database: Callable[[], Awaitable[Database]]) -> None:
        self._database = database

    async def load(self, service_uid: str) -> dict[str, WatchState]:
        """What was saved of a service; what another version saved in another form is left out."""

        def read(connection: sa.Connection) -> dict[str, WatchState]:
            query = sa.select(_TABLE.revision, _TABLE.state).where(
                _TABLE.service_uid == service_uid
            )
            found = {}
            for revision, state in connection.execute(query):
                try:
                    found[revision] = msgspec.msgpack.decode(state, type=WatchState)
                except msgspec.MsgspecError:
                    continue
            return found

        return await (await self._database()).run(read)

    async def save(self, service_uid: str, states: Mapping[str, WatchState], now: int) -> None:
        """Replaces what was saved of a service."""
        rows = await asyncio.to_thread(_rows, service_uid, states, now)

        def write(connection: sa.Connection) -> None:
            connection.execute(sa.delete(WATCHES).where(_TABLE.service_uid == service_uid))
            if rows:
                connection.execute(sa.insert(WATCHES), rows)

        await (await self._database()).run(write)

    async def keep(self, service_uids: Collection[str]) -> None:
        """Forgets all services but these."""

        def write(connection: sa.Connection) -> None:
            known = connection.execute(sa.select(_TABLE.service_uid).distinct()).scalars()
            for gone in set(known) - set(service_uids):
                connection.execute(sa.delete(WATCHES).where(_TABLE.service_uid == gone))

        await (await self._database()).run(write)


def _rows(service_uid: str, states: Mapping[str, WatchState], now: int) -> list[dict[str, Any]]:
    return [
        {
            "service_uid": service_uid,
            "revision": revision,
            "saved": now,
            "state": msgspec.msgpack.encode(state),
        }
        for revision, state in states.items()
    ]
