"""Requests recorded as CloudEvents."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from kubeling.serving.server.requestlog import CloudEventLog, new_record, open_log


@contextlib.asynccontextmanager
async def sink(take: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """The address of something that takes events."""
    app = web.Application()
    app.router.add_post("/", take)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


def _ignore() -> None:
    return None


async def test_each_request_is_sent_as_two_events_that_share_an_id() -> None:
    events: asyncio.Queue[tuple[dict[str, str], Any]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        await events.put(({k.lower(): v for k, v in request.headers.items()}, await request.json()))
        return web.Response()

    async with asyncio.timeout(5), sink(take) as url, open_log(url, "all", _ignore) as log:
        assert log is not None
        log.add(new_record("iris", 200, {"instances": []}, {"predictions": []}, "7"))
        found = [await events.get(), await events.get()]
    kinds = [headers["ce-type"].rpartition(".")[2] for headers, _ in found]
    assert kinds == ["request", "response"]
    assert {headers["ce-id"] for headers, _ in found} == {"7"}
    assert [body for _, body in found] == [{"instances": []}, {"predictions": []}]


async def test_only_requests_are_sent_if_that_is_asked_for() -> None:
    seen: list[str] = []
    done = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        seen.append(request.headers["ce-type"])
        if len(seen) == 2:
            done.set()
        return web.Response()

    async with asyncio.timeout(5), sink(take) as url, open_log(url, "request", _ignore) as log:
        assert log is not None
        log.add(new_record("iris", 200, {}, {}))
        log.add(new_record("iris", 200, {}, {}))
        await done.wait()
    assert seen == ["org.kubeflow.serving.inference.request"] * 2


async def test_a_sink_that_does_not_keep_up_costs_records_and_nothing_else() -> None:
    dropped: list[None] = []
    log = CloudEventLog("http://127.0.0.1:9", "all", lambda: dropped.append(None))
    for _ in range(1500):
        log.add(new_record("iris", 200, {}, {}))
    assert len(dropped) == 500


async def test_without_a_place_there_is_no_log() -> None:
    async with open_log("", "all", _ignore) as log:
        assert log is None
