"""Pipelines' specs once each, and indices in the order of lists.

A run kept its whole spec, so what lists filter by lay behind it in the row; now runs of one
pipeline share one row of ``pipeline_specs``.
"""

import hashlib
import json
import uuid

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_BATCH = 500
_LINKS = uuid.UUID("b3f4a1c0-6d0e-4f0c-9d55-4c1f3a1d7e02")
_INDICES = {
    "pipeline_runs": {
        "pipeline_runs_by_creation": ["created_at", "run_id"],
        "pipeline_runs_by_experiment": ["experiment_id", "created_at", "run_id"],
        "pipeline_runs_by_namespace": ["namespace", "created_at", "run_id"],
        "pipeline_runs_by_state": ["state", "created_at", "run_id"],
        "pipeline_runs_by_storage": ["storage_state", "created_at", "run_id"],
        "pipeline_runs_by_name": ["display_name", "run_id"],
        "pipeline_runs_by_end": ["finished_at", "run_id"],
        "pipeline_runs_by_schedule": ["scheduled_at", "run_id"],
        "pipeline_runs_by_job": ["recurring_run_id", "created_at", "run_id"],
        "pipeline_runs_by_spec": ["spec_digest"],
    },
    "pipeline_metrics": {"pipeline_metrics_by_value": ["name", "value", "run_id"]},
    "pipeline_tasks": {"pipeline_tasks_by_creation": ["created_at", "task_id"]},
    "pipeline_artifacts": {
        "pipeline_artifacts_by_creation": ["created_at", "artifact_id"],
        "pipeline_artifacts_by_namespace": ["namespace", "created_at", "artifact_id"],
    },
    "pipeline_artifact_tasks": {"pipeline_artifact_tasks_id": ["artifact_task_id"]},
}
_SUPERSEDED = {
    "pipeline_runs": [
        "ix_pipeline_runs_state",
        "ix_pipeline_runs_created_at",
        "ix_pipeline_runs_recurring_run_id",
        "pipeline_runs_experiment",
    ],
    "pipeline_artifacts": ["ix_pipeline_artifacts_created_at"],
}


def upgrade() -> None:
    op.create_table(
        "pipeline_specs",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("body", sa.LargeBinary(2**32 - 1), nullable=False),
    )
    op.add_column(
        "pipeline_runs",
        sa.Column("spec_digest", sa.String(64), nullable=False, server_default=""),
    )
    op.add_column("pipeline_runs", sa.Column("plugins_input", sa.JSON, nullable=True))
    op.add_column(
        "pipeline_artifact_tasks",
        sa.Column("artifact_task_id", sa.String(36), nullable=False, server_default=""),
    )
    op.add_column("pipeline_artifacts", sa.Column("description", sa.Text, nullable=True))
    op.add_column("pipeline_artifacts", sa.Column("number_value", sa.Float, nullable=True))
    connection = op.get_bind()
    _move_specs(connection)
    _name_links(connection)
    with op.batch_alter_table("pipeline_runs") as table:
        table.drop_column("pipeline_spec")
    for name, indices in _SUPERSEDED.items():
        for index in indices:
            op.drop_index(index, table_name=name)
    for name, wanted in _INDICES.items():
        for index, columns in wanted.items():
            op.create_index(index, name, columns)


def _move_specs(connection: sa.Connection) -> None:
    runs = sa.table(
        "pipeline_runs",
        sa.column("run_id", sa.String),
        sa.column("pipeline_spec", sa.JSON),
        sa.column("spec_digest", sa.String),
    )
    specs = sa.table(
        "pipeline_specs", sa.column("digest", sa.String), sa.column("body", sa.LargeBinary)
    )
    known: set[str] = set()
    last = ""
    while True:
        query = sa.select(runs.c.run_id, runs.c.pipeline_spec).where(runs.c.run_id > last)
        rows = connection.execute(query.order_by(runs.c.run_id).limit(_BATCH)).all()
        if not rows:
            return
        for row in rows:
            body = json.dumps(row.pipeline_spec, sort_keys=True, separators=(",", ":")).encode()
            digest = hashlib.sha256(body).hexdigest()
            if digest not in known:
                known.add(digest)
                connection.execute(sa.insert(specs).values(digest=digest, body=body))
            connection.execute(
                sa.update(runs).where(runs.c.run_id == row.run_id).values(spec_digest=digest)
            )
        last = rows[-1].run_id


def _name_links(connection: sa.Connection) -> None:
    keys = ("artifact_id", "task_id", "direction", "key")
    links = sa.table(
        "pipeline_artifact_tasks",
        sa.column("artifact_id", sa.BigInteger),
        *(sa.column(name, sa.String) for name in (*keys[1:], "artifact_task_id")),
    )
    for row in connection.execute(sa.select(*(links.c[name] for name in keys))).all():
        identity = "/".join(str(getattr(row, name)) for name in keys)
        where = [links.c[name] == getattr(row, name) for name in keys]
        named = sa.update(links).where(*where)
        connection.execute(named.values(artifact_task_id=str(uuid.uuid5(_LINKS, identity))))
