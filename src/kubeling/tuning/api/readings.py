"""Readings of many trials at once: what charts are drawn from.

A chart has no use for more points than it has pixels, so of very many readings every nth is taken,
where n shares no factor with the number of metrics: in a log they alternate.
"""

from __future__ import annotations

import datetime as dt
import math
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
            stride = _stride(_count(connection, namespace, list(trials))[0], len(metrics))
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
        """A word that changes whenever there are more readings."""

        def select(connection: sa.Connection) -> str:
            count, latest = _count(connection, namespace, uids)
            return f"{count}-{latest}"

        return await self._database().run(select)


def _count(connection: sa.Connection, namespace: str, uids: Sequence[str]) -> tuple[int, str]:
    count, latest = 0, ""
    for chunk in _chunks(uids):
        query = sa.select(sa.func.count(), sa.func.max(_TABLE.time)).where(*_of(namespace, chunk))
        some, last = connection.execute(query).one()
        count, latest = count + int(some or 0), max(latest, str(last or ""))
    return count, latest


def _stride(count: int, metrics: int) -> int:
    stride = max(1, -(-count // _MOST))
    while stride > 1 and math.gcd(stride, max(metrics, 1)) > 1:
        stride += 1
    return stride


def _chunks(uids: Sequence[str]) -> list[Sequence[str]]:
    return [uids[start : start + _CHUNK] for start in range(0, len(uids), _CHUNK)]


def _of(namespace: str, uids: Sequence[str]) -> tuple[sa.ColumnElement[bool], ...]:
    return (_TABLE.namespace == namespace, _TABLE.trial_uid.in_(uids))
