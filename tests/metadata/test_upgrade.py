"""A crash in the middle of a schema's upgrade leaves the database as it was before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from kubeling.metadata.database import HEAD, Database

UPGRADE = """
import os, signal, sys
import sqlalchemy as sa
from kubeling.metadata.database import Database

left = int(sys.argv[2])

def count(connection, cursor, statement, *_):
    global left
    left -= statement.lstrip().upper().startswith(("CREATE", "ALTER", "INSERT", "UPDATE"))
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

sa.event.listen(sa.Engine, "before_cursor_execute", count)
Database(sys.argv[1]).open()
"""


def upgrade(url: str, statements: int) -> int:
    """Upgrades in a process that is killed after so many changes; returns its exit code."""
    command = [sys.executable, "-c", UPGRADE, url, str(statements)]
    return subprocess.run(command, env=os.environ, timeout=60, check=False).returncode


@pytest.mark.parametrize("statements", [1, 4, 12])
def test_an_upgrade_that_was_killed_is_made_again(tmp_path: Path, statements: int) -> None:
    url = f"sqlite:///{tmp_path / 'metadata.db'}"
    assert upgrade(url, statements) == -signal.SIGKILL
    database = Database(url)
    with database.engine.connect() as connection:
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    database.close()
    assert found == HEAD


def test_two_processes_may_open_a_new_database_together(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'metadata.db'}"
    command = [sys.executable, "-c", UPGRADE, url, "1000000"]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
