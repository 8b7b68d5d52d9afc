"""Upgrading keeps every run's pipeline, and keeps one that many runs share only once."""

from __future__ import annotations

import json
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import kubeling.metadata
from kubeling.metadata.database import Database
from kubeling.pipelines.spec_store import read_spec

RUN = {
    "namespace": "default", "name": "r", "display_name": "r", "description": "",
    "experiment_id": "e", "pipeline_id": "", "pipeline_version_id": "", "recurring_run_id": "",
    "service_account": "", "storage_state": "AVAILABLE", "state": "SUCCEEDED",
    "state_history": "[]", "error": "", "epoch": 0, "runtime_config": "{}",
    "created_at": "2026-01-01 00:00:00.000000",
}  # fmt: skip


def test_specs_of_older_runs_are_moved(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'metadata.db'}"
    config = Config()
    folder = Path(kubeling.metadata.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    engine = sa.create_engine(url)
    specs = {"1": {"b": 1, "a": "ä"}, "2": {"a": "ä", "b": 1}, "3": {"c": 3}}
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        for run_id, spec in specs.items():
            row = {**RUN, "run_id": run_id, "pipeline_spec": json.dumps(spec)}
            columns, values = ", ".join(row), ", ".join(f":{key}" for key in row)
            connection.execute(
                sa.text(f"INSERT INTO pipeline_runs ({columns}) VALUES ({values})"), row
            )
    engine.dispose()

    database = Database(url)
    with database.engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT run_id, spec_digest FROM pipeline_runs"))
        found = {
            row.run_id: json.loads(bytes(read_spec(connection, row.spec_digest))) for row in rows
        }
        kept = connection.execute(sa.text("SELECT count(*) FROM pipeline_specs")).scalar()
    database.close()
    assert found == specs
    assert kept == 2
