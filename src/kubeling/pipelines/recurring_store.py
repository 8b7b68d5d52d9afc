"""RecurringRuns in the metadata database, for lists."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa

from kubeling.kube.objects import Obj, name, namespace, uid
from kubeling.pipelines.resources import decode_recurring_run
from kubeling.pipelines.store import default_experiment, upsert
from kubeling.pipelines.tables import RECURRING_RUNS

__all__ = ["file_recurring_run"]


def file_recurring_run(connection: sa.Connection, job: Obj, now: dt.datetime) -> None:
    """Writes the row of a RecurringRun object, if it differs."""
    spec = decode_recurring_run(job)
    columns = RECURRING_RUNS.c
    found = connection.execute(
        sa.select(RECURRING_RUNS).where(columns.recurring_run_id == uid(job))
    ).first()
    values: dict[str, Any] = {
        "namespace": namespace(job),
        "name": name(job),
        "display_name": spec.run.display_name or name(job),
        "description": spec.run.description,
        "status": "ENABLED" if spec.enabled else "DISABLED",
        "body": job["spec"],
    }
    moment = now.astimezone(dt.UTC).replace(tzinfo=None)
    if found is None:
        experiment = spec.run.experiment_id or default_experiment(connection, now)
        own = {
            "recurring_run_id": uid(job),
            "experiment_id": experiment,
            "created_at": moment,
            "updated_at": moment,
        }
        upsert(connection, RECURRING_RUNS, [{**own, **values}], keep=True)
    elif any(getattr(found, key) != value for key, value in values.items()):
        connection.execute(
            sa.update(RECURRING_RUNS)
            .where(columns.recurring_run_id == uid(job))
            .values(updated_at=moment, **values)
        )
