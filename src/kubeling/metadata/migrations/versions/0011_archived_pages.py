"""The archive's lists in the order of an index, the key last, so that no page is sorted.

A page far behind then steps over entries of the index, and not over whole rows.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLE = "archived_workflows"
_INDICES = {
    "archived_workflows_started": ["started_at"],
    "archived_workflows_namespace": ["namespace", "started_at"],
}


def upgrade() -> None:
    """Makes the indices anew, with the key."""
    for name, columns in _INDICES.items():
        op.drop_index(name, table_name=_TABLE)
        op.create_index(name, _TABLE, [*columns, "uid"])


def downgrade() -> None:
    """Makes them as they were."""
    for name, columns in _INDICES.items():
        op.drop_index(name, table_name=_TABLE)
        op.create_index(name, _TABLE, columns)
