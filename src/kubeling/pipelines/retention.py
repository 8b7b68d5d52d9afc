"""Which runs a retention policy means, asked of the database.

Only runs that have ended are ever meant, those that ended first come first.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa

from kubeling.kube.durations import parse_duration
from kubeling.pipelines.records import FINAL_STATES
from kubeling.pipelines.settings import Retention
from kubeling.pipelines.tables import EXPERIMENTS, RUNS

__all__ = ["Victim", "victims"]

_R = RUNS.c


@dataclass(frozen=True, slots=True)
class Victim:
    """A run that is to be archived or deleted."""

    run_id: str
    namespace: str
    name: str
    display_name: str
    state: str
    finished_at: dt.datetime | None


def victims(
    connection: sa.Connection, policy: Retention, now: dt.datetime, limit: int
) -> list[Victim]:
    """The next runs that the policy means; ``now`` is UTC without a zone."""
    meant = _meant(policy)
    conditions = list(meant)
    if policy.max_age:
        oldest = now - dt.timedelta(seconds=parse_duration(policy.max_age))
        conditions.append(_R.finished_at <= oldest)
    if policy.keep_last:
        conditions.append(_R.run_id.not_in(_latest(meant, policy.keep_last)))
    if policy.action == "archive":
        conditions.append(_R.storage_state == "AVAILABLE")
    columns = (_R.run_id, _R.namespace, _R.name, _R.display_name, _R.state, _R.finished_at)
    query = sa.select(*columns).where(*conditions).order_by(_R.finished_at, _R.run_id)
    return [Victim(*row) for row in connection.execute(query.limit(limit))]


def _meant(policy: Retention) -> list[sa.ColumnElement[bool]]:
    """Whose runs the policy is about."""
    states: tuple[str, ...] = policy.states or tuple(sorted(FINAL_STATES))
    conditions: list[sa.ColumnElement[bool]] = [
        _R.state.in_(states),
        _R.finished_at.is_not(None),
    ]
    if policy.namespace:
        conditions.append(_R.namespace == policy.namespace)
    if policy.experiment:
        columns = EXPERIMENTS.c
        named = sa.select(columns.experiment_id).where(columns.display_name == policy.experiment)
        conditions.append(_R.experiment_id.in_(named))
    if policy.archived is not None:
        state = "ARCHIVED" if policy.archived else "AVAILABLE"
        conditions.append(_R.storage_state == state)
    return conditions


def _latest(meant: list[sa.ColumnElement[bool]], count: int) -> sa.Select[tuple[str]]:
    """The latest runs of each experiment among those that the policy is about."""
    place = (
        sa.func.row_number()
        .over(partition_by=_R.experiment_id, order_by=(_R.created_at.desc(), _R.run_id.desc()))
        .label("place")
    )
    ranked = sa.select(_R.run_id, place).where(*meant).subquery()
    return sa.select(ranked.c.run_id).where(ranked.c.place <= count)
