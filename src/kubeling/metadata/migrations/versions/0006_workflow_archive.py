"""The workflow archive: finished Workflows, and the labels they are found by."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGTEXT

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates both tables."""
    op.create_table(
        "archived_workflows",
        sa.Column("uid", sa.String(36), primary_key=True),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sa.String(253), nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("started_at", sa.DateTime, nullable=False),
        sa.Column("finished_at", sa.DateTime, nullable=False),
        sa.Column("summary", sa.Text().with_variant(LONGTEXT, "mysql"), nullable=False),
        sa.Column("body", sa.LargeBinary(2**32 - 1), nullable=False),
    )
    for index, columns in (
        ("archived_workflows_started", ["started_at"]),
        ("archived_workflows_namespace", ["namespace", "started_at"]),
        ("archived_workflows_name", ["name"]),
        ("archived_workflows_finished", ["finished_at"]),
    ):
        op.create_index(index, "archived_workflows", columns)
    op.create_table(
        "archived_workflow_labels",
        sa.Column("uid", sa.String(36), primary_key=True),
        sa.Column("name", sa.String(317), primary_key=True),
        sa.Column("value", sa.String(63), nullable=False),
    )
    op.create_index("archived_workflow_labels_name", "archived_workflow_labels", ["name", "value"])


def downgrade() -> None:
    """Drops them."""
    op.drop_table("archived_workflow_labels")
    op.drop_table("archived_workflows")
