"""The readings of trials, kept in the metadata database.

A reading is filed under the trial's uid, so that neither another namespace nor a later trial of
the same name can mix with it. What was read from a log is filed under the run of the container
that wrote it and its place there, so that reading a log again (after a restart) changes nothing
and a retried container begins anew; what was reported over the API has no run.
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

__all__ = ["MOST_REPORTED", "OBSERVATIONS", "ObservationStore", "TooManyReadings"]

OBSERVATIONS: Final = sa.Table(
    "observations",
    METADATA,
    sa.Column("namespace", sa.String(63), primary_key=True),
    sa.Column("trial_uid", sa.String(36), primary_key=True),
    sa.Column("run", sa.String(64), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("metric", sa.String(255), nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("time", sa.DateTime, nullable=False),
    sa.Index("observations_metric", "namespace", "trial_uid", "metric"),
)
MOST_REPORTED: Final = 1_000_000
"""Readings that one trial may report; more are a mistake that fills the disk."""
_TABLE: Final = OBSERVATIONS.c
_REPORTED: Final = ""
_ATTEMPTS: Final = 5


class TooManyReadings(Exception):
    """A trial reported more than is kept; the message says how many may be."""


class ObservationStore:
    """Readings in the metadata database, which is opened when the first one comes."""

    def __init__(self, database: Callable[[], Database]) -> None:
        self._database = database

    async def begin(self, namespace: str, trial_uid: str, run: str) -> None:
        """Drops what other runs of a trial's container had printed."""

        def delete(connection: sa.Connection) -> None:
            others = sa.and_(_of(namespace, trial_uid), _TABLE.run.not_in((run, _REPORTED)))
            connection.execute(sa.delete(OBSERVATIONS).where(others))

        await self._database().run(delete)

    async def record(
        self, namespace: str, trial_uid: str, run: str, readings: Sequence[tuple[int, Reading]]
    ) -> None:
        """Files readings under their places in a log; those there already stay."""
        if not readings:
            return

        def insert(connection: sa.Connection) -> None:
            last = _last(connection, namespace, trial_uid, run)
            fresh = [
                _row(namespace, trial_uid, run, place, reading)
                for place, reading in readings
                if place > last
            ]
            if fresh:
                connection.execute(sa.insert(OBSERVATIONS), fresh)

        await self._database().run(insert)

    async def report(self, namespace: str, trial_uid: str, readings: Sequence[Reading]) -> None:
        """Files readings after those that were reported before."""

        def insert(connection: sa.Connection) -> None:
            first = _last(connection, namespace, trial_uid, _REPORTED) + 1
            if first + len(readings) > MOST_REPORTED:
                raise TooManyReadings(f"a trial may report {MOST_REPORTED} values at most")
            rows = [
                _row(namespace, trial_uid, _REPORTED, first + place, reading)
                for place, reading in enumerate(readings)
            ]
            if rows:
                connection.execute(sa.insert(OBSERVATIONS), rows)

        for attempt in range(_ATTEMPTS):
            try:
                await self._database().run(insert)
                return
            except sa.exc.IntegrityError:
                # Somebody else reported at the same moment, in another connection.
                if attempt == _ATTEMPTS - 1:
                    raise

    async def read(
        self,
        namespace: str,
        trial_uid: str,
        metric: str = "",
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        most: int | None = None,
    ) -> list[Reading]:
        """The readings of a trial in order: of all metrics or one, within a span of time."""
        query = (
            sa.select(_TABLE.metric, _TABLE.value, _TABLE.time)
            .where(_of(namespace, trial_uid))
            .order_by(_TABLE.run, _TABLE.sequence)
            .limit(most)
        )
        if metric:
            query = query.where(_TABLE.metric == metric)
        if start is not None:
            query = query.where(_TABLE.time >= _stored(start))
        if end is not None:
            query = query.where(_TABLE.time <= _stored(end))

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


def _last(connection: sa.Connection, namespace: str, trial_uid: str, run: str) -> int:
    """The last place filed of a run, -1 before the first."""
    highest = sa.select(sa.func.max(_TABLE.sequence))
    found = connection.execute(highest.where(_of(namespace, trial_uid), _TABLE.run == run)).scalar()
    return -1 if found is None else int(found)


def _row(
    namespace: str, trial_uid: str, run: str, sequence: int, reading: Reading
) -> dict[str, int | str | dt.datetime]:
    return {
        "namespace": namespace,
        "trial_uid": trial_uid,
        "run": run,
        "sequence": sequence,
        "metric": reading.name,
        "value": reading.value,
        "time": _stored(reading.time or dt.datetime.now(dt.UTC)),
    }


def _stored(time: dt.datetime) -> dt.datetime:
    return time.astimezone(dt.UTC).replace(tzinfo=None)
