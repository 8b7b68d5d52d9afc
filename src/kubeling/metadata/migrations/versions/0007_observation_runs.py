"""Observations by the run of the container that printed them, and an index for single metrics.

A retried trial, or values pushed beside those of a log, would else be taken for what was read
already.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KEPT = "namespace, trial_uid, sequence, metric, value, time"


def upgrade() -> None:
    """Makes the run a part of the key."""
    op.rename_table("observations", "observations_before")
    _create(sa.Column("run", sa.String(64), primary_key=True))
    op.create_index("observations_metric", "observations", ["namespace", "trial_uid", "metric"])
    op.execute(
        f"INSERT INTO observations ({_KEPT}, run) SELECT {_KEPT}, 'log' FROM observations_before"
    )
    op.drop_table("observations_before")


def downgrade() -> None:
    """Keeps what logs held."""
    op.rename_table("observations", "observations_after")
    _create()
    op.execute(
        f"INSERT INTO observations ({_KEPT}) SELECT {_KEPT} FROM observations_after WHERE run <> ''"
    )
    op.drop_table("observations_after")


def _create(*columns: sa.Column[str]) -> None:
    op.create_table(
        "observations",
        sa.Column("namespace", sa.String(63), primary_key=True),
        sa.Column("trial_uid", sa.String(36), primary_key=True),
        *columns,
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("metric", sa.String(255), nullable=False),
        sa.Column("value", sa.String(64), nullable=False),
        sa.Column("time", sa.DateTime, nullable=False),
    )
