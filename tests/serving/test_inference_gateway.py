"""The inference gateway of a cluster: a process of its own, with the API elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.serving.platform import Serving, is_ready, running_serving, traffic

from kubeling.kube.objects import Obj
from kubeling.kube.resources import DEPLOYMENTS
from kubeling.serving.resources import INFERENCE_SERVICES

PATH = "/serving/default/m/v1/models/m:predict"


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    """Serving's controllers, which do not know what requests there are."""
    async with running_serving(tmp_path, https=True) as found:
        await found.gateway()
        yield found


@contextlib.asynccontextmanager
async def gateway(
    serving: Serving, port: int = 0, **environment: str
) -> AsyncIterator[tuple[Any, int]]:
    """The command's process, and its port."""
    script = str(Path(sys.executable).parent / "kubeling")
    process = await asyncio.create_subprocess_exec(
        *(script, "inference-gateway", "--kubeconfig", str(serving.kubeconfig)),
        *("--host", "127.0.0.1", "--port", str(port), "--drain", "20"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            said = (await process.stdout.readline()).decode()
        found = re.match(r"Models are served at 127.0.0.1 port (\d+)", said)
        assert found is not None, said
        yield process, int(found[1])
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def pod(release: asyncio.Event | None = None) -> AsyncIterator[int]:
    """What answers in a pod, once it may; gives its port."""
    taken = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        taken.set()
        if release is not None:
            await release.wait()
        return web.json_response({"predictions": [1]})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with TestServer(app) as server:
        yield server.port or 0


async def serve(serving: Serving, version: str, number: int, port: int, **fields: Any) -> None:
    env = [{"name": "VERSION", "value": version}]
    container = {"image": "mine", "env": env, "ports": [{"containerPort": port}]}
    await serving.service("m", predictor={"containers": [container], **fields})
    await serving.start(f"m-predictor-{number:05d}")
    await serving.until(INFERENCE_SERVICES, "m", is_ready)


async def test_it_splits_and_begins_again_where_it_was_killed(serving: Serving) -> None:
    async with pod() as port, aiohttp.ClientSession() as http:
        await serve(serving, "1", 1, port)
        await serve(serving, "2", 2, port, canaryTrafficPercent=10)
        await serving.until(INFERENCE_SERVICES, "m", lambda o: len(traffic(o)) == 2)
        async with gateway(serving) as (process, at):
            answers: Counter[str] = Counter()
            for _ in range(20):
                answer = await http.post(f"http://127.0.0.1:{at}{PATH}", json={})
                answers[answer.headers["x-kubeling-revision"]] += 1
            assert answers == {"m-predictor-00001": 18, "m-predictor-00002": 2}
            process.send_signal(signal.SIGKILL)
            await process.wait()
        async with gateway(serving, at) as (_, again):
            assert again == at
            assert (await http.post(f"http://127.0.0.1:{at}{PATH}", json={})).status == 200


async def test_it_asks_who_asks_where_that_is_wanted(serving: Serving) -> None:
    async with (
        pod() as port,
        gateway(serving, KUBELING_SERVING_AUTHENTICATION="true") as (_, at),
        aiohttp.ClientSession() as http,
    ):
        await serve(serving, "1", 1, port)
        url = f"http://127.0.0.1:{at}{PATH}"
        assert (await http.post(url, json={})).status == 403
        headers = {"Authorization": "Bearer nobody's"}
        assert (await http.post(url, json={}, headers=headers)).status == 401
        counts = f"http://127.0.0.1:{at}/api/serving/default/m/traffic"
        assert (await http.get(counts)).status == 403
        assert (await http.get(counts, headers=headers)).status == 401
        assert (await http.get(f"http://127.0.0.1:{at}/metrics")).status == 200


async def test_it_takes_nothing_that_it_cannot_keep(serving: Serving) -> None:
    async with pod() as port, gateway(serving) as (_, at), aiohttp.ClientSession() as http:
        await serve(serving, "1", 1, port)
        for method, page in (("POST", "requests"), ("GET", "requests"), ("GET", "drift")):
            url = f"http://127.0.0.1:{at}/api/serving/default/m/{page}"
            async with http.request(method, url, json=[]) as answer:
                assert answer.status == 404
                assert "no metadata database" in (await answer.json())["error"]


async def test_it_sends_services_to_rest_and_wakes_them(serving: Serving) -> None:
    async with pod() as port, gateway(serving) as (_, at), aiohttp.ClientSession() as http:
        window = {"autoscaling.knative.dev/window": "1s"}
        await serve(serving, "1", 1, port, minReplicas=0, annotations=window)
        predictor = "m-predictor-00001"
        await serving.until(DEPLOYMENTS, predictor, _has_no_pods, 30)
        await serving.stop(predictor)
        asked = asyncio.create_task(http.post(f"http://127.0.0.1:{at}{PATH}", json={}))
        await serving.start(predictor)
        assert await (await asked).json() == {"predictions": [1]}


async def test_what_it_answers_comes_to_its_end_when_it_is_stopped(serving: Serving) -> None:
    release = asyncio.Event()
    async with (
        pod(release) as port,
        gateway(serving) as (process, at),
        aiohttp.ClientSession() as http,
    ):
        await serve(serving, "1", 1, port)
        asked = asyncio.create_task(http.post(f"http://127.0.0.1:{at}{PATH}", json={}))
        metrics = ""
        async with asyncio.timeout(20):
            while not re.search(r"requests_in_flight{.*} 1\n", metrics):
                if asked.done():  # Refused before the gateway knew the service.
                    asked = asyncio.create_task(http.post(f"http://127.0.0.1:{at}{PATH}", json={}))
                metrics = await (await http.get(f"http://127.0.0.1:{at}/metrics")).text()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            while await _listens(at):
                pass
        release.set()
        assert (await asked).status == 200
        assert await process.wait() == 0


def _has_no_pods(deployment: Obj) -> bool:
    return bool(deployment["spec"]["replicas"] == 0)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:  # reset where it was queued for a listener that closes
        return False
    writer.close()
    return True
