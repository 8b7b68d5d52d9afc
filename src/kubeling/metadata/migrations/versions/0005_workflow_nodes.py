"""Nodes of Workflows that outgrow an object."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables of offloaded nodes."""
    op.create_table(
        "workflow_offloads",
        sa.Column("workflow_uid", sa.String(36), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "workflow_nodes",
        sa.Column("workflow_uid", sa.String(36), primary_key=True),
        sa.Column("node_id", sa.String(128), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("node", sa.Text().with_variant(MEDIUMTEXT, "mysql"), nullable=False),
    )


def downgrade() -> None:
    """Drops them."""
    op.drop_table("workflow_nodes")
    op.drop_table("workflow_offloads")
