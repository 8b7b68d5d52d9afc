"""Observations: what the trials of experiments measured."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the table of observations."""
    op.create_table(
        "observations",
        sa.Column("namespace", sa.String(63), primary_key=True),
        sa.Column("trial_uid", sa.String(36), primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("metric", sa.String(255), nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.Column("time", sa.DateTime, nullable=False),
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_table("observations")
