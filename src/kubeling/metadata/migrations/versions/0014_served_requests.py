"""Requests of served models and their answers, where a service's logger asks for it."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_TABLE = "serving_requests"
_PLACE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        _TABLE,
        sa.Column("id", _PLACE, primary_key=True, autoincrement=True),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("service", sa.String(63), nullable=False),
        sa.Column("request_id", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("component", sa.String(16), nullable=False),
        sa.Column("revision", sa.String(253), nullable=False),
        sa.Column("model", sa.String(253), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
    op.create_index("serving_requests_of_service", _TABLE, ["namespace", "service", "id"])
    op.create_index("serving_requests_by_id", _TABLE, ["request_id"])
    op.create_index("serving_requests_by_time", _TABLE, ["time"])


def downgrade() -> None:
    """Drops it."""
    op.drop_table(_TABLE)
