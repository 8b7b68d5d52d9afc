"""The registry's tables in the metadata database."""

from __future__ import annotations

import sqlalchemy as sa

from kubeling.metadata.database import METADATA

__all__ = ["ENTITIES", "METRIC_HISTORY"]

ENTITIES = sa.Table(
    "registry_entities",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("parent_kind", sa.String(32), nullable=False, server_default=""),
    sa.Column("parent_id", sa.Integer, nullable=False, server_default="0"),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("external_id", sa.String(255), nullable=True),
    sa.Column("artifact_type", sa.String(32), nullable=False, server_default=""),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("updated", sa.BigInteger, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
    sa.UniqueConstraint(
        "kind", "parent_kind", "parent_id", "artifact_type", "name", name="registry_name"
    ),
    sa.Index("registry_external", "kind", "external_id"),
)

METRIC_HISTORY = sa.Table(
    "registry_metric_history",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.Integer, nullable=False, index=True),
    sa.Column("body", sa.JSON, nullable=False),
)
