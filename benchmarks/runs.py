"""How fast runs of pipelines are listed when there are many, and how that grows with their number.

    python benchmarks/runs.py [--runs 200000] [--rounds 7]

Fills a database with a tenth of the runs, then with all of them; each run has its own parameters,
two metrics, and one of 20 specs of 12 KB. The API is asked over HTTP in this process, 100 runs at a
time; each figure is the best of a few rounds and contains the client's own work. What a page costs
of CPU, the client's part included, hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from figures import questions

from kubeling.apiserver.server import ApiServer, ApiServerConfig
from kubeling.component import Context, Settings
from kubeling.kube.client import Client
from kubeling.kube.informer import Informers
from kubeling.pipelines.component import COMPONENT
from kubeling.pipelines.spec_store import spec_row
from kubeling.pipelines.tables import EXPERIMENTS, METRICS, RUNS, SPECS

GOAL = 10.0
BATCH = 5000
START = dt.datetime(2026, 1, 1)
STATES = ("SUCCEEDED",) * 8 + ("FAILED", "RUNNING")
LAST = "the last page"
QUESTIONS: dict[str, dict[str, Any]] = {
    "first page, newest first": {"sort_by": "created_at desc"},
    "first page, oldest first": {},
    LAST: {"sort_by": "created_at desc"},
    "of one experiment": {"experiment_id": "experiment-7", "sort_by": "created_at desc"},
    "by name": {"filter": ("display_name", "EQUALS", "run 4711")},
    "by a short part of the name": {"filter": ("display_name", "IS_SUBSTRING", "47")},
    "by a part that few names have": {"filter": ("display_name", "IS_SUBSTRING", "4711")},
    "by a part that all names have": {"filter": ("display_name", "IS_SUBSTRING", "run")},
    "by the same, not archived": {
        "filter": [
            ("display_name", "IS_SUBSTRING", "4711"),
            ("storage_state", "EQUALS", "AVAILABLE"),
        ],
        "sort_by": "created_at desc",
    },
    "by a short part, not archived": {
        "filter": [
            ("display_name", "IS_SUBSTRING", "47"),
            ("storage_state", "EQUALS", "AVAILABLE"),
        ],
        "sort_by": "created_at desc",
    },
    "that failed": {"filter": ("state", "EQUALS", "FAILED"), "sort_by": "created_at desc"},
    "not archived": {"filter": ("storage_state", "NOT_EQUALS", "ARCHIVED")},
    "sorted by name": {"sort_by": "display_name"},
    "sorted by end, latest first": {"sort_by": "finished_at desc"},
    "sorted by a metric, best first": {"sort_by": "metric:accuracy desc"},
}


def run_row(number: int, digests: list[str]) -> dict[str, Any]:
    created = START + dt.timedelta(seconds=number)
    state = STATES[number % 10]
    ended = created + dt.timedelta(seconds=number % 97)
    return {
        "run_id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
        "namespace": "default",
        "name": f"run-{number}",
        "display_name": f"run {number}",
        "description": "",
        "experiment_id": f"experiment-{number % 20}",
        "pipeline_id": "",
        "pipeline_version_id": "",
        "recurring_run_id": "",
        "service_account": "",
        "storage_state": "ARCHIVED" if number % 5 == 0 else "AVAILABLE",
        "state": state,
        "state_history": [{"update_time": created.isoformat() + "Z", "state": state}],
        "error": "",
        "epoch": 0,
        "runtime_config": {"parameters": {"rate": number / 1000, "data": f"day-{number}"}},
        "spec_digest": digests[number % len(digests)],
        "created_at": created,
        "scheduled_at": created,
        "finished_at": None if state == "RUNNING" else ended,
    }


def metric_rows(run: dict[str, Any], number: int) -> list[dict[str, Any]]:
    values = {"accuracy": (number * 7919 % 100003) / 100003, "loss": number * 31 % 997}
    own = {"run_id": run["run_id"], "task_id": "t", "artifact_id": number}
    return [{**own, "name": name, "value": float(value)} for name, value in values.items()]


def fill(connection: sa.Connection, first: int, end: int, digests: list[str]) -> None:
    for start in range(first, end, BATCH):
        numbers = range(start, min(start + BATCH, end))
        rows = [run_row(number, digests) for number in numbers]
        connection.execute(sa.insert(RUNS), rows)
        metrics = [m for n, row in zip(numbers, rows, strict=True) for m in metric_rows(row, n)]
        connection.execute(sa.insert(METRICS), metrics)


def file_specs(connection: sa.Connection) -> list[str]:
    specs = [
        {"pipelineInfo": {"name": f"pipeline-{number}"}, "text": "x" * 12_000}
        for number in range(20)
    ]
    rows = [spec_row(spec) for spec in specs]
    connection.execute(sa.insert(SPECS), rows)
    experiments = [
        {
            "experiment_id": f"experiment-{number}",
            "namespace": "",
            "display_name": f"experiment {number}",
            "description": "",
            "storage_state": "AVAILABLE",
            "created_at": START,
        }
        for number in range(20)
    ]
    connection.execute(sa.insert(EXPERIMENTS), experiments)
    return [str(row["digest"]) for row in rows]


def query_of(question: dict[str, Any]) -> dict[str, str]:
    query = {"page_size": "100", **question}
    if "filter" in question:
        given = question["filter"]
        predicates = [
            {"key": key, "operation": operation, "string_value": value}
            for key, operation, value in ([given] if isinstance(given, tuple) else given)
        ]
        query["filter"] = json.dumps({"predicates": predicates})
    return query


class Asker:
    """Asks the API's list of runs."""

    def __init__(self, session: ClientSession, url: str, rounds: int) -> None:
        self._session = session
        self._url = url
        self._rounds = rounds

    async def page(self, query: dict[str, str]) -> dict[str, Any]:
        async with self._session.get(self._url, params=query) as response:
            response.raise_for_status()
            return msgspec.json.decode(await response.read(), type=dict[str, Any])

    async def best(self, label: str) -> tuple[float, float]:
        """Milliseconds for a page of the list, and milliseconds of CPU."""
        query = query_of(QUESTIONS[label])
        if label == LAST:
            query = {"page_size": "100", "page_token": await self._last_token(query)}
        times: list[tuple[float, float]] = []
        for _ in range(self._rounds):
            begun, used = time.perf_counter(), time.process_time()
            async with self._session.get(self._url, params=query) as response:
                await response.read()
            passed = time.perf_counter() - begun
            times.append((passed * 1000, (time.process_time() - used) * 1000))
        return min(passed for passed, _ in times), min(used for _, used in times)

    async def _last_token(self, query: dict[str, str]) -> str:
        """Of the page before the end, made from one of the first page as no client would."""
        page = await self.page(query)
        from kubeling.pipelines.api.paging import ListOptions

        key = str(uuid.uuid5(uuid.NAMESPACE_OID, "100"))
        moment = START + dt.timedelta(seconds=100)
        return ListOptions(100, "created_at", True).token(page["total_size"], 0, moment, key)


async def measure(sizes: tuple[int, int], rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = ApiServer(ApiServerConfig(data_dir=Path(folder)))
        await server.start()
        async with Informers(Client(server.local_transport())) as informers:
            settings = Settings(Path(folder), Path(folder))
            context = Context(Client(server.local_transport()), informers, settings)
            database = await context.open_database()
            app = web.Application()
            app.add_routes(COMPONENT.routes(context))
            async with TestServer(app) as api, ClientSession() as session:
                url = str(api.make_url("/apis/v2beta1/runs"))
                asker = Asker(session, url, rounds)
                digests = await database.run(file_specs)
                found: list[dict[str, tuple[float, float]]] = []
                for first, end in ((0, sizes[0]), (sizes[0], sizes[1])):
                    await database.run(_filler(first, end, digests))
                    await asker.page({"page_size": "1"})
                    found.append({label: await asker.best(label) for label in QUESTIONS})
                questions(f"A page of 100 of {sizes[1]:,} runs", sizes, found, GOAL)
            database.close()
        await server.stop()


def _filler(first: int, end: int, digests: list[str]) -> Callable[[sa.Connection], None]:
    return lambda connection: fill(connection, first, end, digests)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    asyncio.run(measure((options.runs // 10, options.runs), options.rounds))


if __name__ == "__main__":
    main()
