"""What is known of the requests of monitored models, so that a restart loses none of it."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_LARGEST = 2**24 - 1


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "serving_watches",
        sa.Column("service_uid", sa.String(36), primary_key=True),
        sa.Column("revision", sa.String(253), primary_key=True),
        sa.Column("saved", sa.BigInteger, nullable=False),
        sa.Column("state", sa.LargeBinary(_LARGEST), nullable=False),
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_table("serving_watches")
