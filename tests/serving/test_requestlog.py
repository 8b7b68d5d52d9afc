"""Requests recorded as CloudEvents, as files of batches, and in the metadata database."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import csv
import datetime as dt
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestServer
from alembic import command
from alembic.config import Config

import kubeling.metadata
from kubeling.metadata.database import Database
from kubeling.serving.requestlog.delivery import Delivery
from kubeling.serving.requestlog.events import Event, Origin, events_of
from kubeling.serving.requestlog.files import encoded
from kubeling.serving.requestlog.http_sink import HttpSink, headers_of
from kubeling.serving.requestlog.opening import open_log
from kubeling.serving.requestlog.parquet import table_bytes
from kubeling.serving.requestlog.record import Counts, LogSettings, Record, new_record
from kubeling.serving.requestlog.store import REQUESTS, Filed, Filter, RequestStore

ORIGIN = Origin("iris", "default", "predictor", "iris-pod")
MIGRATIONS = Path(kubeling.metadata.__file__).parent / "migrations"
Take = Callable[[web.Request], Awaitable[web.Response]]


@contextlib.asynccontextmanager
async def sink(take: Take) -> AsyncIterator[str]:
    """The address of something that takes events."""
    app = web.Application()
    app.router.add_post("/{tail:.*}", take)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


def record(number: int = 7, status: int = 200, **headers: str) -> Record:
    given = {"x-request-id": str(number), **headers}
    return new_record("iris", status, {"instances": [number]}, {"predictions": [1]}, given)


def settings(url: str = "http://sink/", **fields: Any) -> LogSettings:
    return LogSettings(url, **fields)


async def test_each_request_is_sent_as_two_events_that_share_an_id() -> None:
    events: list[tuple[dict[str, str], Any]] = []

    async def take(request: web.Request) -> web.Response:
        events.append(({k.lower(): v for k, v in request.headers.items()}, await request.json()))
        return web.Response()

    counts = Counts()
    async with sink(take) as url, open_log(settings(url), counts) as log:
        # What is queued when the server ends is sent before it does.
        assert log is not None
        log.add(record())
    events.sort(key=lambda event: event[0]["ce-type"])
    assert [headers["ce-type"] for headers, _ in events] == [
        "org.kubeflow.serving.inference.request",
        "org.kubeflow.serving.inference.response",
    ]
    assert {headers["ce-id"] for headers, _ in events} == {"7"}
    assert [body for _, body in events] == [{"instances": [7]}, {"predictions": [1]}]
    assert (counts.written, counts.dropped) == (2, 0)


def test_the_attributes_are_upstreams() -> None:
    wanted = settings(metadata_headers=["X-User", "X-None"], annotations={"team": "a"})
    found = record(**{"x-user": "jürgen", "ce-id": "given"})
    request, _ = events_of(found, wanted)
    headers = headers_of(request, wanted, ORIGIN)
    assert {name.lower() for name in headers} == {
        "content-type", "ce-specversion", "ce-id", "ce-type", "ce-source", "ce-time",
        "ce-recordedtime", "ce-inferenceservicename", "ce-namespace", "ce-component",
        "ce-endpoint", "ce-metadata", "ce-annotations",
    }  # fmt: skip
    assert headers["Ce-Id"] == "given"
    assert headers["Ce-Source"] == "iris-pod"
    assert headers["Ce-Metadata"] == '{"X-User":["j%C3%BCrgen"]}'
    assert headers["Ce-Annotations"] == '{"team":"a"}'


@pytest.mark.parametrize(
    ("mode", "status", "failures", "kinds"),
    [
        ("all", 200, False, ["request", "response"]),
        ("request", 200, False, ["request"]),
        ("response", 200, False, ["response"]),
        ("all", 400, False, ["request"]),
        ("response", 500, False, []),
        ("all", 400, True, ["request", "response"]),
    ],
)
def test_what_is_sent_in_each_mode(
    mode: Any, status: int, failures: bool, kinds: list[str]
) -> None:
    wanted = settings(mode=mode, failures=failures)
    assert [event.kind for event in events_of(record(status=status), wanted)] == kinds


async def test_a_sink_that_comes_back_gets_what_it_missed() -> None:
    seen: list[str] = []

    async def take(request: web.Request) -> web.Response:
        seen.append(request.headers["ce-id"])
        return web.Response(status=503 if len(seen) <= 2 else 200)

    counts = Counts()
    async with sink(take) as url, open_log(settings(url, mode="request"), counts) as log:
        assert log is not None
        log.add(record(1))
        log.add(record(2))
    assert sorted(seen) == ["1", "1", "2", "2"]
    assert (counts.written, counts.dropped) == (2, 0)


async def test_what_a_sink_refuses_is_dropped_and_counted() -> None:
    async def take(_: web.Request) -> web.Response:
        return web.Response(status=400)

    counts = Counts()
    async with sink(take) as url, open_log(settings(url), counts) as log:
        assert log is not None
        log.add(record())
    assert (counts.written, counts.dropped) == (0, 2)


async def test_a_dead_sink_costs_records_and_nothing_else() -> None:
    counts = Counts()
    wanted = settings("http://127.0.0.1:9", mode="request")
    delivery = Delivery(HttpSink(wanted, ORIGIN, counts), wanted, counts)
    for number in range(2500):
        delivery.add(record(number))
    assert counts.dropped == 500
    large = new_record("iris", 200, "x" * 10_000_000, {})
    other = Delivery(HttpSink(wanted, ORIGIN, counts), wanted, Counts())
    for _ in range(3):
        other.add(large)
    assert other._counts.dropped == 2, "16 MiB are kept at most"


async def test_the_end_does_not_wait_for_a_dead_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubeling.serving.requestlog.delivery._GRACE_SECONDS", 0.1)
    counts = Counts()
    async with asyncio.timeout(20), open_log(settings("http://127.0.0.1:9"), counts) as log:
        assert log is not None
        for number in range(50):
            log.add(record(number))
    assert (counts.written, counts.dropped) == (0, 100)


async def test_without_a_place_there_is_no_log() -> None:
    async with open_log(LogSettings(), Counts()) as log:
        assert log is None


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


async def test_batches_become_files_laid_out_as_upstreams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("INFERENCE_SERVICE_NAME", "iris"),
        ("POD_NAMESPACE", "default"),
        ("SERVING_COMPONENT", "predictor"),
    ):
        monkeypatch.setenv(name, value)
    wanted = settings(str(tmp_path), format="json", path="logs", batch_size=2)
    counts = Counts()
    async with open_log(wanted, counts) as log:
        assert log is not None
        for number in (1, 2, 3):
            log.add(record(number))
    files = files_below(tmp_path)
    folder = "default/iris/predictor/logs"
    assert files == [
        f"{folder}/{name}.json" for name in ("1-request", "1-response", "3-request", "3-response")
    ]
    batch = json.loads((tmp_path / files[0]).read_text())
    assert [(entry["reqType"], entry["id"]) for entry in batch] == [
        ("request", "1"),
        ("request", "2"),
    ]
    # What is left at the end is a file of its own.
    alone = json.loads((tmp_path / files[3]).read_text())
    assert base64.b64decode(alone["bytes"]) == b'{"predictions":[1]}'
    assert counts.written == 6


async def test_a_batch_that_is_not_full_is_sent_after_its_interval() -> None:
    class Patient:
        size = 100
        interval = 0.01

        def __init__(self) -> None:
            self.sent: asyncio.Queue[int] = asyncio.Queue()

        async def send(self, events: Sequence[Event]) -> Sequence[Event]:
            self.sent.put_nowait(len(events))
            return ()

        async def close(self) -> None:
            return None

    taker = Patient()
    async with asyncio.timeout(10), Delivery(taker, settings(), Counts()).running() as log:
        log.add(record())
        assert await taker.sent.get() == 2


class Taker:
    """A sink of batches of a size, which fails at first if it is told to."""

    interval = 0.0

    def __init__(self, size: int, error: Exception | None = None) -> None:
        self.size = size
        self._error = error
        self.sent: asyncio.Queue[int] = asyncio.Queue()

    async def send(self, events: Sequence[Event]) -> Sequence[Event]:
        error, self._error = self._error, None
        if error is not None:
            raise error
        self.sent.put_nowait(len(events))
        return ()

    async def close(self) -> None:
        return None


async def test_a_batch_larger_than_there_is_room_for_is_sent_as_far_as_it_came() -> None:
    taker, counts = Taker(size=5000), Counts()
    large = new_record("iris", 200, "x" * 9_000_000, {})
    wanted = settings(mode="request")
    async with asyncio.timeout(20), Delivery(taker, wanted, counts).running() as log:
        log.add(large)
        assert await taker.sent.get() == 1
        for number in range(2000):
            log.add(record(number))
        assert await taker.sent.get() == 2000
    assert counts.dropped == 0


async def test_a_batch_that_cannot_be_sent_does_not_end_the_log() -> None:
    taker, counts = Taker(size=1, error=UnicodeError("no text")), Counts()
    wanted = settings(mode="request")
    async with asyncio.timeout(20), Delivery(taker, wanted, counts).running() as log:
        log.add(record(1))
        log.add(record(2))
        assert await taker.sent.get() == 1
    assert counts.dropped == 1


@pytest.mark.parametrize("given", ["caf\udce9", "x" * 1000, "../../é/\udcff" * 100])
async def test_ids_that_clients_choose_are_recorded_whatever_they_are(
    given: str, tmp_path: Path
) -> None:
    taken: list[str] = []

    async def take(request: web.Request) -> web.Response:
        taken.append(request.headers["ce-id"])
        return web.Response()

    counts = Counts()
    found = record(**{"ce-id": given})
    async with sink(take) as url:
        for place in (settings(url), settings(str(tmp_path), format="json")):
            async with open_log(place, counts) as log:
                assert log is not None
                log.add(found)
    assert (counts.written, counts.dropped) == (4, 0)
    assert len(taken) == 2
    assert len(files_below(tmp_path)) == 2


def _events() -> list[Event]:
    return [event for number in (1, 2) for event in events_of(record(number), settings())]


def test_csv_has_upstreams_columns() -> None:
    rows = list(csv.reader(io.StringIO(encoded("csv", _events(), settings(), ORIGIN).decode())))
    assert rows[0][:4] == ["url", "bytes", "contentType", "reqType"]
    assert rows[0][-2:] == ["certName", "tlsSkipVerify"]
    assert len(rows) == 5
    assert rows[1][3:5] == ["request", "1"]


def test_parquet_is_read_by_arrow() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    content = encoded("parquet", _events(), settings(), ORIGIN)
    table = parquet.read_table(io.BytesIO(content))
    assert table.num_rows == 4
    assert table.schema.names[:4] == ["url", "bytes", "contentType", "reqType"]
    assert table.column("id").to_pylist() == ["1", "1", "2", "2"]
    assert table.column("tlsSkipVerify").to_pylist() == [False] * 4
    many = {"text": ["ü" * n for n in range(300)], "whole": list(range(-150, 150))}
    flags = {"flag": [n % 3 == 0 for n in range(300)]}
    again = parquet.read_table(io.BytesIO(table_bytes({**many, **flags})))
    assert again.to_pydict() == {**many, **flags}
    assert parquet.read_table(io.BytesIO(table_bytes({"none": []}))).num_rows == 0


@pytest.fixture
def store(tmp_path: Path) -> RequestStore:
    database = Database(f"sqlite:///{tmp_path / 'metadata.db'}")

    async def opened() -> Database:
        return database

    return RequestStore(opened, 1 << 20)


async def kept_of(store: RequestStore, asked: Filter | None = None) -> list[dict[str, Any]]:
    return (await store.read("default", "iris", asked or Filter())).events


def filed(number: int, kind: str = "request", **fields: Any) -> Filed:
    entry = {
        "id": str(number),
        "kind": kind,
        "time": f"2026-01-01T00:00:{number:02d}Z",
        "component": "predictor",
        "revision": "iris-1",
        "model": "iris",
        "status": 200,
        "data": {"instances": [number]},
        **fields,
    }
    return msgspec.json.decode(msgspec.json.encode(entry), type=Filed)


async def test_requests_are_found_again_in_the_database(store: RequestStore) -> None:
    await store.add("default", "iris", [filed(1), filed(2), filed(2, "response", status=500)])
    await store.add("other", "iris", [filed(3)])
    found = await kept_of(store)
    assert [(entry["id"], entry["kind"]) for entry in found] == [
        ("2", "response"), ("2", "request"), ("1", "request"),
    ]  # fmt: skip
    assert bytes(found[-1]["data"]) == b'{"instances":[1]}'
    assert found[-1]["time"] == "2026-01-01T00:00:01.000000Z"
    failed = await kept_of(store, Filter(status=500))
    assert [entry["kind"] for entry in failed] == ["response"]
    since = msgspec.convert({"since": "2026-01-01T00:00:02Z", "kind": "request"}, Filter)
    assert len(await kept_of(store, since)) == 1
    older = await kept_of(store, Filter(before=found[0]["place"], limit=1))
    assert [entry["place"] for entry in older] == [found[1]["place"]]


async def test_the_last_of_each_service_are_kept(
    store: RequestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubeling.serving.requestlog.store._MOST", 10)
    monkeypatch.setattr("kubeling.serving.requestlog.store._SWEEP", 20)
    await store.add("default", "quiet", [filed(1)])
    await store.add("default", "iris", [filed(number) for number in range(30)])
    kept = await kept_of(store)
    assert [entry["id"] for entry in kept] == [str(n) for n in range(29, 19, -1)]
    assert len((await store.read("default", "quiet", Filter())).events) == 1


async def test_large_requests_take_no_more_room_than_each_service_has(store: RequestStore) -> None:
    await store.add("default", "quiet", [filed(1)])
    for number in range(60):
        await store.add("default", "iris", [filed(number, data="x" * 50_000)])
    kept = await kept_of(store)
    assert [entry["id"] for entry in kept] == [str(n) for n in range(59, 59 - len(kept), -1)]
    # A mebibyte, and up to an eighth of one that came since what is too much was last removed.
    assert 20 <= len(kept) <= 23
    assert len((await store.read("default", "quiet", Filter())).events) == 1


async def test_an_answer_is_of_bounded_size_and_says_where_the_older_ones_are(
    store: RequestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubeling.serving.requestlog.store._PAGE", 100_000)
    await store.add("default", "iris", [filed(n, data="x" * 40_000) for n in range(6)])
    pages, before = [], None
    while not pages or before is not None:
        page = await store.read("default", "iris", Filter(before=before))
        pages.append([entry["id"] for entry in page.events])
        before = page.older
    assert pages == [["5", "4"], ["3", "2"], ["1", "0"]]
    large = filed(7, data="x" * 200_000)
    await store.add("default", "iris", [large])
    assert [entry["id"] for entry in await kept_of(store)] == ["7"], "one is always shown"


async def test_of_what_is_larger_than_a_mebibyte_the_size_is_kept(store: RequestStore) -> None:
    await store.add("default", "iris", [filed(1, data="x" * (1 << 20), metadata=["y" * (1 << 20)])])
    kept = (await kept_of(store))[0]
    assert b"omitted" in bytes(kept["data"])
    assert b"omitted" in bytes(kept["metadata"])


async def test_a_server_whose_clock_is_ahead_makes_nobody_elses_requests_old(
    store: RequestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubeling.serving.requestlog.store._SWEEP", 1)
    now = dt.datetime.now(dt.UTC).isoformat()
    await store.add("default", "iris", [filed(1, time=now)])
    await store.add("other", "wrong", [filed(2, time="2999-01-01T00:00:00Z")])
    assert len(await kept_of(store)) == 1


async def test_metadata_is_shown_as_it_was_filed(store: RequestStore) -> None:
    await store.add("default", "iris", [filed(1, metadata={"X-User": ["a"]}), filed(2)])
    found = await kept_of(store)
    assert [bytes(entry["metadata"]) for entry in found] == [b"{}", b'{"X-User":["a"]}']
    with pytest.raises(msgspec.MsgspecError):
        filed(3, metadata=msgspec.Raw(b"nothing"))


async def test_what_no_database_could_keep_costs_no_other_request(store: RequestStore) -> None:
    odd = filed(1, id="a\0b", model="\0", data=msgspec.Raw(b'"\xff"'))
    await store.add("default", "iris", [odd, filed(2)])
    events = await kept_of(store)
    assert [(event["id"], event["model"]) for event in events] == [("2", "iris"), ("ab", "")]
    assert msgspec.json.decode(bytes(events[1]["data"])) == "\ufffd"
    assert len(await kept_of(store, Filter(id="a\0b"))) == 1
    for query in ({"before": "9" * 20}, {"status": "9" * 20}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(query, Filter, strict=False)


async def test_a_log_of_an_older_version_is_measured(store: RequestStore, tmp_path: Path) -> None:
    await store.add("default", "iris", [filed(1, data="x" * 100, metadata={"a": "b"})])
    url = f"sqlite:///{tmp_path / 'metadata.db'}"
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0014")
    engine.dispose()
    database = Database(url)
    with database.engine.connect() as connection:
        sizes = list(connection.scalars(sa.select(REQUESTS.c.size)))
    database.close()
    assert sizes == [len(b'"%s"{"a":"b"}' % (100 * b"x"))]
