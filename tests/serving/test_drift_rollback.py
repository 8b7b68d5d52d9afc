"""A canary whose answers differ from the stable revision's is rolled back, if that is asked for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.serving.platform import NAMESPACE, Serving, is_ready, running_serving, traffic

from kubeling.kube.objects import condition, uid
from kubeling.kube.resources import NAMESPACES
from kubeling.serving.canary_limits import Limits, validate_limits
from kubeling.serving.names import ROLLBACK_DRIFT
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.watching.store import WatchStore

_AGENT_PORT = 9081


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with running_serving(tmp_path) as found:
        if await found.client.find(NAMESPACES, NAMESPACE) is None:
            await found.client.create(
                NAMESPACES,
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            )
        yield found


async def pod(number: int, predictions: list[Any]) -> tuple[TestServer, str]:
    """The agent of a pod that was asked since it was last looked at, and its address."""

    async def samples(_: web.Request) -> web.Response:
        return web.json_response(
            {"requests": 1, "samples": [{"rows": [[1.0]], "predictions": predictions}]}
        )

    app = web.Application()
    app.router.add_post("/monitor/samples", samples)
    pid = os.getpid()
    address = f"127.{64 + number}.{pid >> 8 & 255}.{pid & 255}"
    server = TestServer(app, host=address, port=_AGENT_PORT)
    await server.start_server()
    return server, address


async def roll_out(serving: Serving, version: str, address: str, **fields: Any) -> None:
    container = {"image": "mine", "env": [{"name": "VERSION", "value": version}]}
    await serving.service("m", predictor={"containers": [container], **fields})
    await serving.start(f"m-predictor-{int(version):05d}", address)


async def test_a_canary_that_answers_otherwise_is_rolled_back(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubeling.serving.watching.controller._SAVE_SECONDS", 0.1)
    stable, first = await pod(0, [0, 1] * 60)
    canary, second = await pod(1, [1] * 120)
    container = {"image": "mine", "env": [{"name": "VERSION", "value": "1"}]}
    await serving.client.create(
        INFERENCE_SERVICES,
        {
            "apiVersion": INFERENCE_SERVICES.api_version,
            "kind": INFERENCE_SERVICES.kind,
            "metadata": {
                "name": "m",
                "namespace": NAMESPACE,
                "annotations": {ROLLBACK_DRIFT: "0.2"},
            },
            "spec": {"predictor": {"containers": [container]}},
        },
    )
    await serving.start("m-predictor-00001", first)
    await serving.until(INFERENCE_SERVICES, "m", is_ready)
    await roll_out(serving, "2", second, canaryTrafficPercent=50)
    rolled_back = {"m-predictor-00002": 0, "m-predictor-00001": 100}
    isvc = await serving.until(
        INFERENCE_SERVICES, "m", lambda o: traffic(o) == rolled_back, seconds=60
    )
    assert condition(isvc, "DataDrift") is not None, "it is watched, as its canaries are judged"
    assert is_ready(isvc)
    await serving.client.delete(INFERENCE_SERVICES, "m", NAMESPACE)
    saved = WatchStore(serving.context.open_database)
    for _ in range(1000):
        if not await saved.load(uid(isvc)):
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("what was known of a service that is gone is kept")
    for server in (stable, canary):
        await server.close()


def test_only_answers_that_differ_enough_count() -> None:
    limits = Limits.of({ROLLBACK_DRIFT: "0.5"})
    assert limits.drifted("m-1", {"drift": True, "psi": 0.75}) == (
        "its answers differ from those of m-1: population stability index 0.75, more than 0.5"
    )
    no_numbers = {"drift": True, "message": "these are not numbers any more"}
    assert limits.drifted("m-1", no_numbers) == (
        "its answers differ from those of m-1: these are not numbers any more"
    )
    assert not limits.drifted("m-1", {"drift": False, "psi": 0.1})
    assert not limits.drifted("m-1", None)
    assert not Limits().drifted("m-1", {"drift": True, "psi": 0.75})


@pytest.mark.parametrize("text", ["0", "-1", "much", "true"])
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    assert [error.value for error in validate_limits({ROLLBACK_DRIFT: text})] == [text]
