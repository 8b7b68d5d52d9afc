"""Pipelines, their runs, tasks and artifacts, and what the cache knows."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "pipelines",
        sa.Column("pipeline_id", sa.String(36), primary_key=True),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("display_name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False, index=True),
        sa.UniqueConstraint("namespace", "name", name="pipelines_name"),
    )
    op.create_table(
        "pipeline_versions",
        sa.Column("pipeline_version_id", sa.String(36), primary_key=True),
        sa.Column(
            "pipeline_id",
            sa.String(36),
            sa.ForeignKey("pipelines.pipeline_id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("name", sa.String(127), nullable=False),
        sa.Column("display_name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("code_source_url", sa.Text, nullable=False),
        sa.Column("package_url", sa.Text, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("pipeline_spec", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.UniqueConstraint("pipeline_id", "name", name="pipeline_versions_name"),
        sa.Index("pipeline_versions_created", "pipeline_id", "created_at"),
    )
    op.create_table(
        "pipeline_experiments",
        sa.Column("experiment_id", sa.String(36), primary_key=True),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("display_name", sa.String(128), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("storage_state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False, index=True),
        sa.Column("last_run_created_at", sa.DateTime, nullable=True),
        sa.UniqueConstraint("namespace", "display_name", name="pipeline_experiments_name"),
    )
    op.create_table(
        "pipeline_runs",
        sa.Column("run_id", sa.String(36), primary_key=True),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sa.String(253), nullable=False),
        sa.Column("display_name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("experiment_id", sa.String(36), nullable=False),
        sa.Column("pipeline_id", sa.String(36), nullable=False, index=True),
        sa.Column("pipeline_version_id", sa.String(36), nullable=False),
        sa.Column("recurring_run_id", sa.String(36), nullable=False, index=True),
        sa.Column("service_account", sa.String(253), nullable=False),
        sa.Column("storage_state", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("state_history", sa.JSON, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("runtime_config", sa.JSON, nullable=False),
        sa.Column("pipeline_spec", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False, index=True),
        sa.Column("scheduled_at", sa.DateTime, nullable=True),
        sa.Column("finished_at", sa.DateTime, nullable=True),
        sa.Index("pipeline_runs_experiment", "experiment_id", "created_at"),
        sa.Index("pipeline_runs_object", "namespace", "name"),
    )
    op.create_table(
        "pipeline_tasks",
        sa.Column("run_id", sa.String(36), primary_key=True),
        sa.Column("path", sa.String(512), primary_key=True),
        sa.Column("task_id", sa.String(36), nullable=False, unique=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("display_name", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("cached", sa.Boolean, nullable=False),
        sa.Column("pod", sa.String(253), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=True),
        sa.Column("started_at", sa.DateTime, nullable=True),
        sa.Column("finished_at", sa.DateTime, nullable=True),
        sa.Column("body", sa.LargeBinary(2**32 - 1), nullable=False),
    )
    op.create_table(
        "pipeline_artifacts",
        sa.Column("artifact_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("type", sa.String(128), nullable=False, index=True),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False, index=True),
    )
    op.create_table(
        "pipeline_artifact_tasks",
        sa.Column("artifact_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("task_id", sa.String(36), primary_key=True),
        sa.Column("direction", sa.String(8), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("run_id", sa.String(36), nullable=False, index=True),
        sa.Index("pipeline_artifact_tasks_task", "task_id"),
    )
    op.create_table(
        "pipeline_metrics",
        sa.Column("run_id", sa.String(36), primary_key=True),
        sa.Column("task_id", sa.String(36), primary_key=True),
        sa.Column("artifact_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("value", sa.Float, nullable=False),
        sa.Index("pipeline_metrics_name", "name", "run_id"),
    )
    op.create_table(
        "pipeline_cache",
        sa.Column("namespace", sa.String(63), primary_key=True),
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        sa.Column("run_id", sa.String(36), nullable=False),
        sa.Column("task_id", sa.String(36), nullable=False),
        sa.Column("outputs", sa.LargeBinary(2**32 - 1), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "pipeline_recurring_runs",
        sa.Column("recurring_run_id", sa.String(36), primary_key=True),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sa.String(253), nullable=False),
        sa.Column("display_name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("experiment_id", sa.String(36), nullable=False, index=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False, index=True),
        sa.Column("updated_at", sa.DateTime, nullable=False),
    )


def downgrade() -> None:
    """Drops them."""
    for table in (
        "pipeline_recurring_runs",
        "pipeline_cache",
        "pipeline_metrics",
        "pipeline_artifact_tasks",
        "pipeline_artifacts",
        "pipeline_tasks",
        "pipeline_runs",
        "pipeline_experiments",
        "pipeline_versions",
        "pipelines",
    ):
        op.drop_table(table)
