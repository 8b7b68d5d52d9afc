"""The readings of trials, kept in the metadata database.

A reading is filed under the trial's uid, so that neither another namespace nor a later trial of
the same name can mix with it, and under its place in the log, so that reading a log again (after a
restart) changes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from kubeling.metadata.database import METADATA
from kubeling.tuning.metrics import Reading

if TYPE_CHECKING:
    from kubeling.metadata.database import Database

__all__ = ["OBSERVATIONS", "ObservationStore"]

OBSERVATIONS: Final = sa.Table(
    "observations",
    METADATA,
    sa.Column("namespace", sa.String(63), primary_key=True),
    sa.Column("trial_uid", sa.String(36), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("metric", sa.String(255), nullable=False),
    sa.Column("value", sa.String(64), nullable=False),
    sa.Column("time", sa.DateTime, nullable=False),
)
_TABLE: Final = OBSERVATIONS.c


class ObservationStore:
    """Readings in the metadata database, which is opened when the first one comes."""

    def __init__(self, database: Callable[[], Database]) -> None:
        self._database = database

    async def record(
        self, namespace: str, trial_uid: str, first: int, readings: Sequence[Reading]
    ) -> None:
        """Files readings from sequence number ``first`` on; those there already stay."""
        if not readings:
            return
        rows = [
            {
                "namespace": namespace,
                "trial_uid": trial_uid,
                "sequence": first + place,
                "metric": reading.name,
                "value": reading.value,
                "time": (reading.time or dt.datetime.now(dt.UTC)).replace(tzinfo=None),
            }
            for place, reading in enumerate(readings)
        ]

        def insert(connection: sa.Connection) -> None:
            last = connection.execute(
                sa.select(sa.func.max(_TABLE.sequence)).where(_of(namespace, trial_uid))
            ).scalar()
            fresh = rows if last is None else [r for r in rows if int(str(r["sequence"])) > last]
            if fresh:
                connection.execute(sa.insert(OBSERVATIONS), fresh)

        await self._database().run(insert)

    async def read(self, namespace: str, trial_uid: str) -> list[Reading]:
        """All readings of a trial, in order."""
        query = (
            sa.select(_TABLE.metric, _TABLE.value, _TABLE.time)
            .where(_of(namespace, trial_uid))
            .order_by(_TABLE.sequence)
        )

        def select(connection: sa.Connection) -> list[Reading]:
            return [
                Reading(metric, value, time.replace(tzinfo=dt.UTC))
                for metric, value, time in connection.execute(query)
            ]

        return await self._database().run(select)

    async def forget(self, namespace: str, trial_uid: str) -> None:
        """Removes a trial's readings."""

        def delete(connection: sa.Connection) -> None:
            connection.execute(sa.delete(OBSERVATIONS).where(_of(namespace, trial_uid)))

        await self._database().run(delete)


def _of(namespace: str, trial_uid: str) -> sa.ColumnElement[bool]:
    return sa.and_(_TABLE.namespace == namespace, _TABLE.trial_uid == trial_uid)
