"""The Model Registry."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "registry_entities",
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
    )
    op.create_index("registry_external", "registry_entities", ["kind", "external_id"])
    op.create_table(
        "registry_metric_history",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.Integer, nullable=False, index=True),
        sa.Column("body", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("registry_metric_history")
    op.drop_table("registry_entities")
