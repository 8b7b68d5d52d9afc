"""What keys of the cache were made from."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_CACHE = "pipeline_cache"


def upgrade() -> None:
    """Adds the columns, and the index by which the nearest earlier execution is found."""
    with op.batch_alter_table(_CACHE) as table:
        table.add_column(sa.Column("component", sa.String(255), nullable=False, server_default=""))
        table.add_column(sa.Column("parts", sa.LargeBinary(2**32 - 1), nullable=True))
        table.create_index("pipeline_cache_by_component", ["namespace", "component", "created_at"])


def downgrade() -> None:
    """Forgets them."""
    with op.batch_alter_table(_CACHE) as table:
        table.drop_index("pipeline_cache_by_component")
        table.drop_column("component")
        table.drop_column("parts")
