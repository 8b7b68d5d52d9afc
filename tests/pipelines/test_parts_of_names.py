"""Runs are found by any part of their name, in any case, however many others there are."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeling.metadata.database import Database
from kubeling.pipelines.api import listing
from kubeling.pipelines.api.paging import ListOptions
from kubeling.pipelines.api.runs import RUN_LISTS
from kubeling.pipelines.tables import RUNS

START = dt.datetime(2026, 3, 1)
LETTERS = st.text(alphabet="aAbB1 -_%/\"'*éÉİſ\u212a\U0001f600\x01", max_size=6)


@pytest.fixture(name="database")
def _database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'metadata.db'}")
    yield database
    database.close()


def run_row(number: int, name: str) -> dict[str, Any]:
    texts = ("namespace", "description", "experiment_id", "pipeline_id", "pipeline_version_id",
             "recurring_run_id", "service_account", "error")  # fmt: skip
    return {
        **dict.fromkeys(texts, ""),
        "run_id": str(uuid.UUID(int=number)),
        "name": f"run-{number}",
        "display_name": name,
        "storage_state": "ARCHIVED" if number % 3 == 2 else "AVAILABLE",
        "state": "SUCCEEDED",
        "state_history": [],
        "epoch": 0,
        "runtime_config": {},
        "created_at": START + dt.timedelta(seconds=number),
    }


def file_runs(connection: sa.Connection, names: Sequence[str]) -> None:
    connection.execute(sa.delete(RUNS))
    rows = [run_row(number, name) for number, name in enumerate(names)]
    if rows:
        connection.execute(sa.insert(RUNS), rows)


def found(connection: sa.Connection, part: str, storage: str = "") -> list[str]:
    """The names on all pages."""
    predicates = [{"operation": "IS_SUBSTRING", "key": "display_name", "string_value": part}]
    if storage:
        kept = {"operation": "EQUALS", "key": "storage_state", "string_value": storage}
        predicates.append(kept)
    text = msgspec.json.encode({"predicates": predicates}).decode()
    options = ListOptions(200, filter=text)
    page = listing.list_rows(connection, RUN_LISTS, options, [RUNS.c.display_name])
    assert page.total == len(page.rows)
    return [row.display_name for row in page.rows]


def in_small_letters(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


def expected(names: Sequence[str], part: str, storage: str = "") -> list[str]:
    kept = {"": (0, 1, 2), "AVAILABLE": (0, 1), "ARCHIVED": (2,)}[storage]
    part = in_small_letters(part)
    return [
        name
        for number, name in enumerate(names)
        if part in in_small_letters(name) and number % 3 in kept
    ]


@pytest.fixture(name="rare", scope="module", params=[1000, 1, 0], ids="rare {}, ".format)
def _rare(request: pytest.FixtureRequest) -> Iterator[int]:
    """How many are few: the index is used for its rows, or for their number only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "_FEW", request.param)
        yield request.param


@pytest.fixture(name="shared", scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('metadata') / 'metadata.db'}")
    yield database
    database.close()


@given(names=st.lists(LETTERS, max_size=8), part=LETTERS)
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("storage", ["", "AVAILABLE", "ARCHIVED"])
def test_exactly_the_runs_whose_name_has_the_part_are_found(
    shared: Database, rare: int, storage: str, names: list[str], part: str
) -> None:
    def work(connection: sa.Connection) -> None:
        file_runs(connection, names)
        assert found(connection, part, storage) == expected(names, part, storage)

    shared.run_sync(work)


def test_a_run_is_found_by_its_new_name_and_not_by_its_old_one(database: Database) -> None:
    def work(connection: sa.Connection) -> None:
        file_runs(connection, ["training of March", "evaluation"])
        named = RUNS.c.display_name == "training of March"
        connection.execute(sa.update(RUNS).where(named).values(display_name="training of April"))
        assert found(connection, "march") == []
        assert found(connection, "april") == ["training of April"]
        connection.execute(sa.delete(RUNS).where(RUNS.c.display_name == "evaluation"))
        assert found(connection, "eva") == []

    database.run_sync(work)


def test_runs_are_found_after_the_database_was_made_smaller(database: Database) -> None:
    names = [f"run {number}" for number in range(20)]

    def work(connection: sa.Connection) -> None:
        file_runs(connection, names)
        connection.execute(sa.delete(RUNS).where(RUNS.c.display_name < "run 15"))

    database.run_sync(work)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM")
    kept = [name for name in names if name >= "run 15"]
    assert database.run_sync(lambda connection: found(connection, "run")) == kept


def test_runs_of_an_earlier_version_are_found(database: Database) -> None:
    """What an upgrade does with the rows that it finds."""
    from alembic import command
    from alembic.config import Config

    import kubeling.metadata

    folder = Path(kubeling.metadata.__file__).parent / "migrations"

    def moved(connection: sa.Connection, revision: str) -> None:
        config = Config()
        config.set_main_option("script_location", str(folder))
        config.attributes["connection"] = connection
        step = command.downgrade if revision == "0009" else command.upgrade
        step(config, revision)

    def work(connection: sa.Connection) -> None:
        moved(connection, "0009")
        file_runs(connection, ["Training", "evaluation"])
        assert found(connection, "train") == ["Training"]
        moved(connection, "0010")
        assert found(connection, "train") == ["Training"]
        assert found(connection, "tr") == ["Training"]

    database.run_sync(work)
