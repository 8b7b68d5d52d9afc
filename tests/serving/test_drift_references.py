"""A reference profile that is kept after its model was served counts from then on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.serving.platform import NAMESPACE, Serving, running_serving

from kubeling.kube.objects import Obj, condition
from kubeling.kube.resources import NAMESPACES
from kubeling.serving.drift.keeping import keep
from kubeling.serving.drift.profile import Profile, profile_of
from kubeling.serving.names import MONITORING
from kubeling.serving.resources import INFERENCE_SERVICES
from kubeling.serving.watching.looking import profile_of_pods

PREFIX = "m-predictor-00001: "


class Pod:
    """A pod's server: each time it was asked 60 rows, drawn alike."""

    def __init__(self) -> None:
        self.profile: bytes | None = None
        self._rows = np.random.default_rng(0)

    async def samples(self, _: web.Request) -> web.Response:
        samples = [
            {"rows": [[row]], "predictions": [0]} for row in self._rows.normal(size=60).tolist()
        ]
        return web.json_response({"requests": 60, "samples": samples})

    async def kept(self, _: web.Request) -> web.Response:
        if self.profile is None:
            raise web.HTTPNotFound
        return web.Response(body=self.profile)


@pytest.fixture
async def pod() -> AsyncIterator[tuple[Pod, str]]:
    found = Pod()
    app = web.Application()
    app.router.add_post("/monitor/samples", found.samples)
    app.router.add_get("/monitor/profile", found.kept)
    pid = os.getpid()
    address = f"127.66.{pid >> 8 & 255}.{pid & 255}"
    server = TestServer(app, host=address, port=8080)
    await server.start_server()
    yield found, address
    await server.close()


@pytest.fixture
async def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serving]:
    monkeypatch.setattr("kubeling.serving.watching.controller._LOOK_SECONDS", 0.05)
    monkeypatch.setattr("kubeling.serving.watching.controller._REFERENCE_SECONDS", 0.05)
    async with running_serving(tmp_path) as found:
        if await found.client.find(NAMESPACES, NAMESPACE) is None:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            await found.client.create(NAMESPACES, namespace)
        yield found


async def serve(serving: Serving, model: Path, address: str) -> None:
    obj = {
        "apiVersion": INFERENCE_SERVICES.api_version,
        "kind": INFERENCE_SERVICES.kind,
        "metadata": {
            "name": "m",
            "namespace": NAMESPACE,
            "annotations": {MONITORING: "window=10000"},
        },
        "spec": {"predictor": {"sklearn": {"storageUri": f"file://{model}"}}},
    }
    await serving.apply(INFERENCE_SERVICES, obj)
    await serving.start("m-predictor-00001", address)


async def said(serving: Serving, text: str) -> Obj:
    """Waits until the condition says so, and names the revision."""

    def holds(isvc: Obj) -> bool:
        found = condition(isvc, "DataDrift")
        return found is not None and found.message == PREFIX + text

    return await serving.until(INFERENCE_SERVICES, "m", holds, seconds=60)


def rows(shift: float = 0.0) -> Any:
    return np.random.default_rng(1).normal(shift, size=(2000, 1))


def encoded(profile: Profile) -> bytes:
    return msgspec.json.encode(profile)


async def test_one_that_is_kept_in_the_models_folder_later_counts(
    serving: Serving, pod: tuple[Pod, str], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    await serve(serving, model, pod[1])
    await said(serving, "requests look like the first 1000 rows")
    keep(rows(), model)
    await said(serving, "requests look like the profile kept with the model")
    keep(rows(3.0), model)
    await said(serving, "drifted from the profile kept with the model: 0")
    event = await serving.event(PREFIX + "drifted from the profile kept with the model: 0")
    assert event["reason"] == "DataDrift"


async def test_one_that_appears_beside_a_pods_files_counts(
    serving: Serving, pod: tuple[Pod, str], tmp_path: Path
) -> None:
    await serve(serving, tmp_path / "elsewhere", pod[1])
    await said(serving, "requests look like the first 1000 rows")
    pod[0].profile = b"{"
    event = await serving.event("m-predictor-00001-pod: Input data was truncated")
    assert event["reason"] == "NoReferenceProfile"
    pod[0].profile = encoded(profile_of(rows()))
    await said(serving, "requests look like the profile kept with the model")


async def test_a_pod_that_fails_is_passed_over(pod: tuple[Pod, str]) -> None:
    async def fail(_: web.Request) -> web.Response:
        raise web.HTTPInternalServerError

    server, address = pod
    server.profile = encoded(profile_of(rows()))
    failing = address.replace("127.66", "127.65")
    app = web.Application()
    app.router.add_get("/monitor/profile", fail)
    pods = [{"spec": {"containers": [{}]}, "status": {"podIP": one}} for one in (failing, address)]
    async with TestServer(app, host=failing, port=8080), aiohttp.ClientSession() as session:
        assert await profile_of_pods(session, pods[:1]) == (False, None)
        answered, found = await profile_of_pods(session, pods)
    assert answered
    assert found is not None
