"""How fast workflows are listed when many are archived, and how that grows with their number.

    python benchmarks/archived.py [--workflows 200000] [--rounds 7]

Fills the archive with a tenth of the workflows, then with all of them; each has three labels, a
status and a manifest. The API is asked over HTTP in this process, as the dashboard and the Argo
Server's clients ask it, 100 workflows at a time; each figure is the best of a few rounds and
contains the client's own work. What a page costs of CPU hardly depends on what else the machine
does.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from aiohttp import ClientSession, web
from aiohttp.test_utils import BaseTestServer, TestServer
from figures import questions

from kubeling.apiserver.server import ApiServer, ApiServerConfig
from kubeling.component import Context, Settings
from kubeling.kube.client import Client
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Obj, format_time
from kubeling.workflows.archive_store import LABELS, WORKFLOWS, label_rows, workflow_row
from kubeling.workflows.component import COMPONENT

GOAL = 10.0
BATCH = 2000
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
PHASE = "workflows.argoproj.io/phase"
LIVE_AND_ARCHIVED = "/api/v1/workflows"
ARCHIVED = "/api/v1/archived-workflows"
QUESTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "first page": (LIVE_AND_ARCHIVED, {}),
    "first page of the archive": (ARCHIVED, {}),
    "the last page": (LIVE_AND_ARCHIVED, {"listOptions.continue": "LAST"}),
    "of one namespace": (LIVE_AND_ARCHIVED, {"fields": "metadata.namespace=team-7"}),
    "that failed": (LIVE_AND_ARCHIVED, {"listOptions.labelSelector": f"{PHASE}=Failed"}),
    "with a label that few have": (LIVE_AND_ARCHIVED, {"listOptions.labelSelector": "day=4711"}),
    "by name": (LIVE_AND_ARCHIVED, {"fields": "metadata.name=train-4711"}),
    "by a short part of the name": (
        LIVE_AND_ARCHIVED,
        {"fields": "metadata.name=47", "nameFilter": "Contains"},
    ),
    "by a part that few names have": (
        LIVE_AND_ARCHIVED,
        {"fields": "metadata.name=4711", "nameFilter": "Contains"},
    ),
    "by the beginning of the name": (
        LIVE_AND_ARCHIVED,
        {"fields": "metadata.name=train-471", "nameFilter": "Prefix"},
    ),
}


def workflow(number: int) -> Obj:
    created = START + dt.timedelta(seconds=number)
    phase = "Failed" if number % 10 == 0 else "Succeeded"
    steps = [{"name": f"step-{n}", "container": {"image": "busybox"}} for n in range(10)]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": f"train-{number}",
            "namespace": f"team-{number % 20}",
            "uid": str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
            "creationTimestamp": format_time(created),
            "labels": {PHASE: phase, "day": str(number // 20), "team": str(number % 20)},
        },
        "spec": {"entrypoint": "step-0", "templates": steps},
        "status": {
            "phase": phase,
            "startedAt": format_time(created),
            "finishedAt": format_time(created + dt.timedelta(seconds=60)),
            "progress": "10/10",
        },
    }


def fill(connection: sa.Connection, first: int, end: int) -> None:
    for start in range(first, end, BATCH):
        made = [workflow(number) for number in range(start, min(start + BATCH, end))]
        connection.execute(sa.insert(WORKFLOWS), [workflow_row(one) for one in made])
        connection.execute(sa.insert(LABELS), [row for one in made for row in label_rows(one)])


def query_of(given: dict[str, str], total: int) -> dict[str, str]:
    query = {"listOptions.limit": "100", **given}
    if "fields" in query:
        query["listOptions.fieldSelector"] = query.pop("fields")
    if "listOptions.continue" in query:
        query["listOptions.continue"] = str(max(total - 100, 0))
    return query


async def best(
    api: BaseTestServer, session: ClientSession, label: str, total: int, rounds: int
) -> Any:
    """Milliseconds for a page, and milliseconds of CPU."""
    path, given = QUESTIONS[label]
    times: list[tuple[float, float]] = []
    for _ in range(rounds):
        begun, used = time.perf_counter(), time.process_time()
        async with session.get(api.make_url(path), params=query_of(given, total)) as response:
            response.raise_for_status()
            await response.read()
        passed = time.perf_counter() - begun
        times.append((passed * 1000, (time.process_time() - used) * 1000))
    return min(passed for passed, _ in times), min(used for _, used in times)


async def measure(sizes: tuple[int, int], rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = ApiServer(ApiServerConfig(data_dir=Path(folder)), crds=list(COMPONENT.crds()))
        await server.start()
        client = Client(server.local_transport())
        async with Informers(client) as informers:
            context = Context(client, informers, Settings(Path(folder), Path(folder)))
            database = await context.open_database()
            app = web.Application()
            app.add_routes(COMPONENT.routes(context))
            async with TestServer(app) as api, ClientSession() as session:
                found: list[dict[str, tuple[float, float]]] = []
                for first, end in ((0, sizes[0]), (sizes[0], sizes[1])):
                    await database.run(lambda c, a=first, b=end: fill(c, a, b))  # type: ignore[misc]
                    found.append(
                        {one: await best(api, session, one, end, rounds) for one in QUESTIONS}
                    )
                questions(f"A page of 100 of {sizes[1]:,} archived workflows", sizes, found, GOAL)
            database.close()
        await server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workflows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    asyncio.run(measure((options.workflows // 10, options.workflows), options.rounds))


if __name__ == "__main__":
    main()
