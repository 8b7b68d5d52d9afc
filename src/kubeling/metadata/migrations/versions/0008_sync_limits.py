"""The limits of Workflows' semaphores that are kept in the database."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the table, with upstream's name and columns."""
    op.create_table(
        "sync_limit",
        sa.Column("name", sa.String(256), primary_key=True),
        sa.Column("sizelimit", sa.Integer),
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_table("sync_limit")
