"""How large each request and answer in the log is, so that services are held to so much."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TABLE = "serving_requests"
_INDEX = "serving_requests_of_service"
_COLUMNS = ["namespace", "service", "id"]


def upgrade() -> None:
    """Adds the size, and has the index know it: adding up sizes must not read the requests."""
    op.add_column(
        _TABLE, sa.Column("size", sa.Integer, nullable=False, server_default=sa.text("0"))
    )
    metadata, data = sa.func.length(sa.column("metadata")), sa.func.length(sa.column("data"))
    op.execute(sa.update(sa.table(_TABLE, sa.column("size"))).values(size=metadata + data))
    op.create_index(f"{_INDEX}_by_size", _TABLE, [*_COLUMNS, "size"])
    op.drop_index(_INDEX, _TABLE)


def downgrade() -> None:
    """Forgets the sizes."""
    op.create_index(_INDEX, _TABLE, _COLUMNS)
    op.drop_index(f"{_INDEX}_by_size", _TABLE)
    op.drop_column(_TABLE, "size")
