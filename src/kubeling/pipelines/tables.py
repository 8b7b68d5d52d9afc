"""The tables of pipelines, runs and lineage in the metadata database.

Times are UTC without a zone, as all databases can keep them. What is only ever shown whole is JSON;
what lists filter or sort by is a column. Specs of pipelines, by far the largest part of a run, are
kept once each, under the digest of their JSON.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from kubeling.metadata.database import METADATA

__all__ = [
    "ARTIFACTS",
    "ARTIFACT_TASKS",
    "CACHE",
    "EXPERIMENTS",
    "METRICS",
    "PIPELINES",
    "RECURRING_RUNS",
    "RUNS",
    "SPECS",
    "TASKS",
    "VERSIONS",
]

_ID: Final = sa.String(36)

PIPELINES: Final = sa.Table(
    "pipelines",
    METADATA,
    sa.Column("pipeline_id", _ID, primary_key=True),
    sa.Column("namespace", sa.String(63), nullable=False),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("display_name", sa.String(255), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False, index=True),
    sa.UniqueConstraint("namespace", "name", name="pipelines_name"),
)
VERSIONS: Final = sa.Table(
    "pipeline_versions",
    METADATA,
    sa.Column("pipeline_version_id", _ID, primary_key=True),
    sa.Column(
        "pipeline_id",
        _ID,
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
EXPERIMENTS: Final = sa.Table(
    "pipeline_experiments",
    METADATA,
    sa.Column("experiment_id", _ID, primary_key=True),
    sa.Column("namespace", sa.String(63), nullable=False),
    sa.Column("display_name", sa.String(128), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("storage_state", sa.String(16), nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False, index=True),
    sa.Column("last_run_created_at", sa.DateTime, nullable=True),
    sa.UniqueConstraint("namespace", "display_name", name="pipeline_experiments_name"),
)
RUNS: Final = sa.Table(
    "pipeline_runs",
    METADATA,
    sa.Column("run_id", _ID, primary_key=True),
    sa.Column("namespace", sa.String(63), nullable=False),
    sa.Column("name", sa.String(253), nullable=False),
    sa.Column("display_name", sa.String(255), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("experiment_id", _ID, nullable=False),
    sa.Column("pipeline_id", _ID, nullable=False, index=True),
    sa.Column("pipeline_version_id", _ID, nullable=False),
    sa.Column("recurring_run_id", _ID, nullable=False),
    sa.Column("service_account", sa.String(253), nullable=False),
    sa.Column("storage_state", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("state_history", sa.JSON, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("runtime_config", sa.JSON, nullable=False),
    sa.Column("spec_digest", sa.String(64), nullable=False, server_default=""),
    sa.Column("plugins_input", sa.JSON, nullable=True),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Column("scheduled_at", sa.DateTime, nullable=True),
    sa.Column("finished_at", sa.DateTime, nullable=True),
    sa.Index("pipeline_runs_object", "namespace", "name"),
    # Each list has an index in its order, the key last, so that no page is sorted or searched for.
    sa.Index("pipeline_runs_by_creation", "created_at", "run_id"),
    sa.Index("pipeline_runs_by_experiment", "experiment_id", "created_at", "run_id"),
    sa.Index("pipeline_runs_by_namespace", "namespace", "created_at", "run_id"),
    sa.Index("pipeline_runs_by_state", "state", "created_at", "run_id"),
    sa.Index("pipeline_runs_by_storage", "storage_state", "created_at", "run_id"),
    sa.Index("pipeline_runs_by_name", "display_name", "run_id"),
    sa.Index("pipeline_runs_by_storage_and_name", "storage_state", "display_name"),
    sa.Index("pipeline_runs_by_end", "finished_at", "run_id"),
    sa.Index("pipeline_runs_by_schedule", "scheduled_at", "run_id"),
    sa.Index("pipeline_runs_by_job", "recurring_run_id", "created_at", "run_id"),
    sa.Index("pipeline_runs_by_spec", "spec_digest"),
)
SPECS: Final = sa.Table(
    "pipeline_specs",
    METADATA,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("body", sa.LargeBinary(2**32 - 1), nullable=False),
)
TASKS: Final = sa.Table(
    "pipeline_tasks",
    METADATA,
    sa.Column("run_id", _ID, primary_key=True),
    sa.Column("path", sa.String(512), primary_key=True),
    sa.Column("task_id", _ID, nullable=False, unique=True),
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
    sa.Index("pipeline_tasks_by_creation", "created_at", "task_id"),
)
ARTIFACTS: Final = sa.Table(
    "pipeline_artifacts",
    METADATA,
    sa.Column("artifact_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("namespace", sa.String(63), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("type", sa.String(128), nullable=False, index=True),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("digest", sa.String(80), nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Column("description", sa.Text, nullable=True),
    sa.Column("number_value", sa.Float, nullable=True),
    sa.Index("pipeline_artifacts_by_creation", "created_at", "artifact_id"),
    sa.Index("pipeline_artifacts_by_namespace", "namespace", "created_at", "artifact_id"),
)
ARTIFACT_TASKS: Final = sa.Table(
    "pipeline_artifact_tasks",
    METADATA,
    sa.Column("artifact_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("task_id", _ID, primary_key=True),
    sa.Column("direction", sa.String(8), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("run_id", _ID, nullable=False, index=True),
    sa.Column("artifact_task_id", _ID, nullable=False, server_default=""),
    sa.Index("pipeline_artifact_tasks_task", "task_id"),
    sa.Index("pipeline_artifact_tasks_id", "artifact_task_id"),
)
METRICS: Final = sa.Table(
    "pipeline_metrics",
    METADATA,
    sa.Column("run_id", _ID, primary_key=True),
    sa.Column("task_id", _ID, primary_key=True),
    sa.Column("artifact_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("value", sa.Float, nullable=False),
    sa.Index("pipeline_metrics_name", "name", "run_id"),
    sa.Index("pipeline_metrics_by_value", "name", "value", "run_id"),
)
CACHE: Final = sa.Table(
    "pipeline_cache",
    METADATA,
    sa.Column("namespace", sa.String(63), primary_key=True),
    sa.Column("fingerprint", sa.String(64), primary_key=True),
    sa.Column("run_id", _ID, nullable=False),
    sa.Column("task_id", _ID, nullable=False),
    sa.Column("outputs", sa.LargeBinary(2**32 - 1), nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Column("component", sa.String(255), nullable=False, server_default=""),
    sa.Column("parts", sa.LargeBinary(2**32 - 1), nullable=True),
    sa.Index("pipeline_cache_by_component", "namespace", "component", "created_at"),
)
RECURRING_RUNS: Final = sa.Table(
    "pipeline_recurring_runs",
    METADATA,
    sa.Column("recurring_run_id", _ID, primary_key=True),
    sa.Column("namespace", sa.String(63), nullable=False),
    sa.Column("name", sa.String(253), nullable=False),
    sa.Column("display_name", sa.String(255), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("experiment_id", _ID, nullable=False, index=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False, index=True),
    sa.Column("updated_at", sa.DateTime, nullable=False),
)
