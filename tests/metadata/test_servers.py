"""The metadata database on PostgreSQL and on MySQL (here MariaDB): what SQLite does, they do.

Each server is started once; the tests share its database and leave their rows in it.
"""

from __future__ import annotations

import datetime as dt
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.pipelines.conftest import served
from tests.pipelines.test_api import get, make_runs
from tests.pipelines.test_controller import CHAIN, controllers, ended, pod_of, submit, succeed
from tests.support.apiserver import running_server
from tests.support.databases import SERVERS

from kubeling.component import Context, Settings
from kubeling.kube.errors import ServiceUnavailable
from kubeling.kube.informer import Informers
from kubeling.kube.objects import uid
from kubeling.metadata.database import Database
from kubeling.pipelines.component import COMPONENT
from kubeling.pipelines.store import upsert
from kubeling.pipelines.tables import EXPERIMENTS, METRICS
from kubeling.tuning.metrics import Reading
from kubeling.tuning.observations import ObservationStore


@pytest.fixture(scope="module", name="url", params=sorted(SERVERS))
def _url(request: pytest.FixtureRequest) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="kubeling-") as folder:
        Path(folder).chmod(0o755)
        with SERVERS[request.param](Path(folder)) as url:
            yield url


@pytest.fixture(name="database")
def _database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


async def test_runs_are_carried_out_and_listed(url: str, tmp_path: Path) -> None:
    async with (
        running_server(COMPONENT, data_dir=tmp_path) as server,
        Informers(server.client) as informers,
    ):
        settings = Settings(tmp_path, tmp_path, database_url=url)
        context = Context(server.client, informers, settings)
        async with controllers(context), served(context) as api:
            run = await submit(context, CHAIN, displayName="Chain 100%")
            await succeed(context, await pod_of(context, "a"), out="7")
            await succeed(context, await pod_of(context, "b"), out="8")
            assert (await ended(context))["status"]["state"] == "SUCCEEDED"
            await make_runs(api, "a_b", "ab")
            found = await get(api, f"/runs/{uid(run)}")
            assert {t["state"] for t in found["run_details"]["task_details"]} == {"SUCCEEDED"}
            assert await named(api, "display_name", "chain 100%") == ["Chain 100%"]
            assert await named(api, "display_name", "A_B") == ["a_b"]
            assert await named(api, "state_history", "SUCCEEDED") == ["Chain 100%"]
            for order in ("finished_at desc", "metric:x", "display_name"):
                page = await get(api, "/runs", page_size="2", sort_by=order)
                token = page["next_page_token"]
                rest = await get(api, "/runs", page_size="2", sort_by=order, page_token=token)
                assert len({r["run_id"] for r in [*page["runs"], *rest["runs"]]}) == 3
        context.database.close()


def test_parts_of_names_have_an_index_where_there_is_one(url: str, database: Database) -> None:
    def indices(connection: sa.Connection) -> set[str | None]:
        return {index["name"] for index in sa.inspect(connection).get_indexes("pipeline_runs")}

    found = database.run_sync(indices)
    assert "pipeline_runs_by_storage_and_name" in found
    assert ("pipeline_run_names" in found) == url.startswith("postgresql")


async def named(api: Any, key: str, part: str) -> list[str]:
    predicate = {"operation": "IS_SUBSTRING", "key": key, "string_value": part}
    found = await get(api, "/runs", filter={"predicates": [predicate]})
    return [run["display_name"] for run in found["runs"]]


def test_values_are_kept_as_they_are(database: Database) -> None:
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 678901)
    name = "Ä" * 128
    rows = [
        {"experiment_id": number, "namespace": "kept", "display_name": shown, "description": text,
         "storage_state": "AVAILABLE", "created_at": moment}
        for number, shown, text in (("1", name, "x" * 100_000), ("2", name.lower(), "🙂"))
    ]  # fmt: skip
    measured = {"run_id": "kept", "task_id": "t", "artifact_id": 2**62, "name": "m"}

    def work(connection: sa.Connection) -> tuple[list[Any], float]:
        connection.execute(sa.insert(EXPERIMENTS), rows)
        upsert(connection, METRICS, [{**measured, "value": 0.123456789012345}])
        query = sa.select(*(EXPERIMENTS.c[key] for key in rows[0]))
        query = query.where(EXPERIMENTS.c.namespace == "kept").order_by("experiment_id")
        value = sa.select(METRICS.c.value).where(METRICS.c.artifact_id == 2**62)
        return list(connection.execute(query)), connection.execute(value).scalar_one()

    found, value = database.run_sync(work)
    assert [row._asdict() for row in found] == rows
    assert value == 0.123456789012345


async def test_what_a_trial_measured_may_be_a_long_text(database: Database) -> None:
    store, text = ObservationStore(lambda: database), "Genotype(" + "ü" * 8000 + ")"
    await store.record("team", "trial", "run", [(0, Reading("Best-Genotype", text))])
    assert [reading.value for reading in await store.read("team", "trial")] == [text]


def test_writers_that_meet_do_not_lose_a_row(database: Database) -> None:
    """Many threads write the same rows, given in different orders."""
    keys = [{"run_id": "r", "task_id": "t", "artifact_id": n, "name": "m"} for n in range(20)]

    def write(number: int) -> None:
        rows = [{**key, "value": float(number)} for key in (keys if number % 2 else keys[::-1])]
        database.run_sync(lambda connection: upsert(connection, METRICS, rows))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(40)))
    count = sa.select(sa.func.count()).where(METRICS.c.run_id == "r")
    assert database.run_sync(lambda c: c.execute(count).scalar()) == len(keys)


def test_of_two_that_wait_for_each_other_one_goes_again(database: Database) -> None:
    keys = [{"run_id": "d", "task_id": "t", "artifact_id": n, "name": "m"} for n in range(2)]
    for key in keys:
        database.run_sync(lambda connection, key=key: upsert(connection, METRICS, [row(key, 0)]))
    both = threading.Barrier(2)
    first_tries = [True, True]

    def write(number: int) -> None:
        def work(connection: sa.Connection) -> None:
            upsert(connection, METRICS, [row(keys[number], number)])
            if first_tries[number]:
                first_tries[number] = False
                both.wait(30)
            upsert(connection, METRICS, [row(keys[1 - number], number)])

        database.run_sync(work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(2)))


def row(key: dict[str, Any], value: float) -> dict[str, Any]:
    return {**key, "value": float(value)}


def test_a_server_that_is_not_there_is_said(url: str) -> None:
    away = sa.engine.make_url(url)
    elsewhere = {key: f"{value}-away" for key, value in away.query.items() if key != "charset"}
    database = Database(replace_query(away, elsewhere))
    with pytest.raises(ServiceUnavailable, match="cannot open the metadata database"):
        database.open()
    database.close()


def replace_query(url: sa.engine.URL, query: dict[str, str]) -> str:
    return url.set(query=query).render_as_string(hide_password=False)
