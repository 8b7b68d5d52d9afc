"""Readings of many trials at once: what charts are drawn from.

A chart has no use for more points than it has pixels, so of very many readings every nth is taken,
where n shares no factor with the number of metrics: in a log they alternate.
"""

from __future__ import annotations

import datetime as dt
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from kubeling.kube.objects import Obj
from kubeling.tuning.metrics import number
from kubeling.tuning.observations import OBSERVATIONS

if TYPE_CHECKING:
    from kubeling.metadata.database import Database

__all__ = ["Curves", "TrialReadings", "metrics_of"]

Curves = dict[str, dict[str, list[tuple[float, float]]]]
"""By trial and metric: pairs of a time in seconds and a value."""

_TABLE: Final = OBSERVATIONS.c
_MOST: Final = 60_000
_CHUNK: Final = 500
"""Trials in one query; databases limit the number of values there."""


def metrics_of(experiment: Obj) -> list[str]:
    """The metrics that are asked for, the objective first."""
    objective = experiment["spec"].get("objective") or {}
    named = (objective.get("objectiveMetricName"), *(objective.get("additionalMetricNames") or ()))
    return [str(metric) for metric in named if metric]


class TrialReadings:
    """Reads the table that :mod:`kubeling.tuning.observations` writes."""

    def __init__(self, database: Callable[[], Database]) -> None:
        self._database = database

    async def curves(
        self, namespace: str, trials: Mapping[str, str], metrics: Sequence[str]
    ) -> Curves:
        """What trials (names by uid) have measured so far."""

        def select(connection: sa.Connection) -> Curves:
            found: Curves = {name: {} for name in trials.values()}
            stride = _stride(_count(connection, namespace, list(trials)), len(metrics))
            for uids in _chunks(list(trials)):
                query = (
                    sa.select(_TABLE.trial_uid, _TABLE.metric, _TABLE.value, _TABLE.time)
                    .where(*_of(namespace, uids), _TABLE.metric.in_(metrics))
                    .order_by(_TABLE.trial_uid, _TABLE.time, _TABLE.sequence)
                )
                if stride > 1:
                    query = query.where(_TABLE.sequence % stride == 0)
                for uid, metric, text, time in connection.execute(query):
                    value = number(text)
                    if value is not None and math.isfinite(value):
                        moment = time.replace(tzinfo=dt.UTC).timestamp()
                        found[trials[uid]].setdefault(metric, []).append((moment, value))
            return found

        return await self._database().run(select)

    async def revision(self, namespace: str, uids: Sequence[str]) -> str:
        """A word that changes whenever there are more readings, however many there are."""

        def select(connection: sa.Connection) -> str:
            places = [place for uid in uids for place in _ends(connection, namespace, uid)]
            return f"{zlib.crc32(repr(places).encode()):08x}"

        return await self._database().run(select)


def _ends(connection: sa.Connection, namespace: str, uid: str) -> list[tuple[str, int] | int]:
    """The last places of a trial's log and of what it reported: two look-ups in the key."""
    mine = _of(namespace, [uid])
    order = (_TABLE.run.desc(), _TABLE.sequence.desc())
    printed = sa.select(_TABLE.run, _TABLE.sequence).where(*mine).order_by(*order).limit(1)
    reported = sa.select(sa.func.max(_TABLE.sequence)).where(*mine, _TABLE.run == "")
    places = [(str(run), int(sequence)) for run, sequence in connection.execute(printed)]
    last = connection.execute(reported).scalar()
    return [*places, -1 if last is None else int(last)]


def _count(connection: sa.Connection, namespace: str, uids: Sequence[str]) -> int:
    counts = [
        connection.execute(sa.select(sa.func.count()).where(*_of(namespace, chunk))).scalar_one()
        for chunk in _chunks(uids)
    ]
    return sum(map(int, counts))


def _stride(count: int, metrics: int) -> int:
    stride = max(1, -(-count // _MOST))
    while stride > 1 and math.gcd(stride, max(metrics, 1)) > 1:
        stride += 1
    return stride


def _chunks(uids: Sequence[str]) -> list[Sequence[str]]:
    return [uids[start : start + _CHUNK] for start in range(0, len(uids), _CHUNK)]


def _of(namespace: str, uids: Sequence[str]) -> tuple[sa.ColumnElement[bool], ...]:
    return (_TABLE.namespace == namespace, _TABLE.trial_uid.in_(uids))
