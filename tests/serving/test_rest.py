"""Services without pods: how they go to rest, and how the first request wakes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.serving.platform import Serving, is_ready, running_serving, traffic

from kubeling.gateway.app import create_app
from kubeling.kube.objects import Obj
from kubeling.kube.resources import DEPLOYMENTS, SERVICES
from kubeling.serving.component import COMPONENT
from kubeling.serving.resources import INFERENCE_SERVICES

Client = TestClient[Any, Any]
PREDICTOR = "m-predictor-00001"


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with running_serving(tmp_path) as found:
        await found.gateway()
        yield found


@pytest.fixture
async def gateway(serving: Serving) -> AsyncIterator[Client]:
    async with TestClient(TestServer(create_app(serving.context, [COMPONENT]))) as client:
        yield client


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    """The pod's process."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"predictions": [1]})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with TestServer(app) as found:
        yield found


async def at_rest(serving: Serving, server: TestServer) -> None:
    """A service that has answered nobody for a second."""
    container = {"image": "mine", "ports": [{"containerPort": server.port}]}
    fields = {"containers": [container], "minReplicas": 0}
    window = {"autoscaling.knative.dev/window": "1s"}
    await serving.service("m", predictor={**fields, "annotations": window})
    await serving.start(PREDICTOR)
    await serving.until(INFERENCE_SERVICES, "m", is_ready)
    await serving.until(DEPLOYMENTS, PREDICTOR, _has_no_pods)
    await serving.stop(PREDICTOR)


def _has_no_pods(deployment: Obj) -> bool:
    return bool(deployment["spec"]["replicas"] == 0)


async def test_requests_wait_for_a_service_at_rest(
    serving: Serving, gateway: Client, server: TestServer
) -> None:
    await at_rest(serving, server)
    resting = await serving.until(
        INFERENCE_SERVICES, "m", lambda o: o["status"].get("replicas") == 0
    )
    assert is_ready(resting)
    assert traffic(resting) == {PREDICTOR: 100}
    path = "/serving/default/m/v1/models/m:predict"
    asked = [asyncio.create_task(gateway.post(path, json={})) for _ in range(5)]
    await serving.start(PREDICTOR)
    for answer in await asyncio.gather(*asked):
        assert await answer.json() == {"predictions": [1]}
    await serving.until(INFERENCE_SERVICES, "m", lambda o: o["status"].get("replicas") == 1)


async def test_a_pod_that_answers_is_not_waited_for_any_longer(
    serving: Serving, gateway: Client, server: TestServer
) -> None:
    await at_rest(serving, server)
    asked = asyncio.create_task(gateway.get("/serving/default/m/"))
    await serving.begin(PREDICTOR)
    assert (await asked).status == 200
    isvc = await serving.exists(INFERENCE_SERVICES, "m")
    assert is_ready(isvc), "a service that is being woken is not called unready"


async def test_names_inside_the_cluster_lead_through_the_gateway(
    serving: Serving, gateway: Client, server: TestServer
) -> None:
    await at_rest(serving, server)
    for title in ("m", "m-predictor"):
        found = await serving.exists(SERVICES, title)
        assert found["spec"]["type"] == "ExternalName"
        assert found["spec"]["externalName"] == "kubeling.kubeflow.svc.cluster.local"
    host = {"Host": "m-predictor.default.svc.cluster.local"}
    asked = asyncio.create_task(gateway.get("/v1/models/m", headers=host))
    await serving.start(PREDICTOR)
    assert (await asked).status == 200
    await serving.service(
        "m",
        predictor={"containers": [{"image": "mine", "ports": [{"containerPort": server.port}]}]},
    )
    await serving.until(SERVICES, "m", lambda o: o["spec"]["type"] == "ClusterIP")


async def test_a_service_that_fails_to_wake_says_why(
    serving: Serving, gateway: Client, server: TestServer
) -> None:
    await at_rest(serving, server)
    asked = asyncio.create_task(gateway.get("/serving/default/m/"))
    await serving.until(DEPLOYMENTS, PREDICTOR, lambda o: not _has_no_pods(o))
    await serving.fail(PREDICTOR, "kserve-container", "MemoryError: no room")
    answer = await asked
    assert answer.status == 503
    assert "MemoryError: no room" in (await answer.json())["error"]
