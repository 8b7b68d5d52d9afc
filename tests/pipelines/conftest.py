"""A pipelines room against the real API server, with a kubelet that tests play."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.support.apiserver import running_server

from kubeling.component import Context, Settings
from kubeling.kube.informer import Informers
from kubeling.pipelines.component import COMPONENT

Api = TestClient[web.Request, web.Application]


@contextlib.asynccontextmanager
async def platform(folder: Path, **settings: Any) -> AsyncIterator[Context]:
    """An API server, and the context of the rooms on it, with settings of pipelines."""
    async with (
        running_server(COMPONENT, data_dir=folder) as server,
        Informers(server.client) as informers,
    ):
        shared = Settings(data_dir=folder, workspace=folder, rooms={"pipelines": settings})
        context = Context(server.client, informers, shared)
        try:
            yield context
        finally:
            if "database" in context.__dict__:
                context.database.close()


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    async with platform(tmp_path) as context:
        yield context


@contextlib.asynccontextmanager
async def served(context: Context) -> AsyncIterator[Api]:
    """The REST API, without controllers."""
    app = web.Application(client_max_size=1 << 28)
    app.add_routes(COMPONENT.routes(context))
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.fixture
async def api(context: Context) -> AsyncIterator[Api]:
    async with served(context) as client:
        yield client


@pytest.fixture
async def registry(context: Context) -> AsyncIterator[list[str]]:
    """A model registry that knows the given addresses."""
    known: list[str] = []

    async def artifacts(_: web.Request) -> web.Response:
        return web.json_response({"items": [{"uri": uri} for uri in known]})

    app = web.Application()
    app.router.add_get("/api/model_registry/v1alpha3/model_artifacts", artifacts)
    async with TestServer(app) as server:
        values = {name: getattr(context.settings, name) for name in ("data_dir", "workspace")}
        context.settings = Settings(**values, gateway_url=str(server.make_url("")))
        yield known
