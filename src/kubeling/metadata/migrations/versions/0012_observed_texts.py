"""Observed values of any length: what a trial measures may be a text, as DARTS' genotype.

SQLite holds no text to a length, so its table stays as it is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TABLE = "observations"
_LONGEST = 64


def upgrade() -> None:
    """Takes the limit away."""
    if op.get_bind().dialect.name != "sqlite":
        _change(sa.String(_LONGEST), sa.Text())


def downgrade() -> None:
    """Drops the values that are too long to be kept."""
    if op.get_bind().dialect.name != "sqlite":
        value: sa.ColumnClause[str] = sa.column("value")
        kept = sa.table(_TABLE, value)
        op.execute(sa.delete(kept).where(sa.func.char_length(value) > _LONGEST))
        _change(sa.Text(), sa.String(_LONGEST))


def _change(before: sa.types.TypeEngine[str], after: sa.types.TypeEngine[str]) -> None:
    op.alter_column(_TABLE, "value", existing_type=before, type_=after, existing_nullable=False)
