"""Runs by part of their name, without reading every name.

SQLite gets the trigrams of the names in lower letters, kept up to date by triggers; the two
characters after a name let its last letters begin a trigram as well. PostgreSQL has an index of its
own for this where the extension may be installed. MySQL's knows other words than MariaDB's, and
neither finds every part.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_RUNS = "pipeline_runs"
_BY_STORAGE = "pipeline_runs_by_storage_and_name"
_PARTS = "pipeline_run_names"
_SQLITE_FROM = (3, 35)

_SQLITE = (
    f"CREATE VIRTUAL TABLE {_PARTS} USING "
    "fts5(text, content='', tokenize='trigram case_sensitive 1')",
    f"CREATE VIRTUAL TABLE {_PARTS}_terms USING fts5vocab({_PARTS}, instance)",
    f"INSERT INTO {_PARTS} (rowid, text) "
    f"SELECT rowid, lower(display_name) || char(1, 1) FROM {_RUNS}",
    f"CREATE TRIGGER {_PARTS}_made AFTER INSERT ON {_RUNS} BEGIN "
    f"INSERT INTO {_PARTS} (rowid, text) "
    "VALUES (new.rowid, lower(new.display_name) || char(1, 1)); END",
    f"CREATE TRIGGER {_PARTS}_gone AFTER DELETE ON {_RUNS} BEGIN "
    f"INSERT INTO {_PARTS} ({_PARTS}, rowid, text) "
    "VALUES ('delete', old.rowid, lower(old.display_name) || char(1, 1)); END",
    f"CREATE TRIGGER {_PARTS}_changed AFTER UPDATE OF display_name ON {_RUNS} BEGIN "
    f"INSERT INTO {_PARTS} ({_PARTS}, rowid, text) "
    "VALUES ('delete', old.rowid, lower(old.display_name) || char(1, 1)); "
    f"INSERT INTO {_PARTS} (rowid, text) "
    "VALUES (new.rowid, lower(new.display_name) || char(1, 1)); END",
)


def upgrade() -> None:
    """Makes the indices that the database can have."""
    op.create_index(_BY_STORAGE, _RUNS, ["storage_state", "display_name"])
    connection = op.get_bind()
    match connection.dialect.name:
        case "sqlite" if _has_trigrams(connection):
            for statement in _SQLITE:
                op.execute(statement)
        case "postgresql" if _has_extension(connection):
            op.create_index(
                _PARTS,
                _RUNS,
                ["display_name"],
                postgresql_using="gin",
                postgresql_ops={"display_name": "gin_trgm_ops"},
            )


def downgrade() -> None:
    """Drops them."""
    match op.get_bind().dialect.name:
        case "sqlite":
            for trigger in ("made", "gone", "changed"):
                op.execute(f"DROP TRIGGER IF EXISTS {_PARTS}_{trigger}")
            op.execute(f"DROP TABLE IF EXISTS {_PARTS}_terms")
            op.execute(f"DROP TABLE IF EXISTS {_PARTS}")
        case "postgresql":
            op.execute(f"DROP INDEX IF EXISTS {_PARTS}")
    op.drop_index(_BY_STORAGE, table_name=_RUNS)


def _has_trigrams(connection: sa.Connection) -> bool:
    option = "SELECT sqlite_compileoption_used('ENABLE_FTS5')"
    newer = (connection.dialect.server_version_info or ()) >= _SQLITE_FROM
    return newer and bool(connection.exec_driver_sql(option).scalar())


def _has_extension(connection: sa.Connection) -> bool:
    try:
        with connection.begin_nested():
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    except sa.exc.DBAPIError:
        return False
    return True
