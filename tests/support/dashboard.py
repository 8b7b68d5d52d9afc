"""The dashboard of a platform that has only some components, in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.support.apiserver import running_server

from kubeling.component import Component, Context, Settings
from kubeling.gateway.app import create_app
from kubeling.kube.informer import Informers

__all__ = ["Dashboard", "dashboard", "reloaded", "shown"]

Dashboard = TestClient[web.Request, web.Application]

NOWHERE = "http://127.0.0.1:1"


@contextlib.asynccontextmanager
async def dashboard(
    folder: Path, *components: Component, rest_url: str = NOWHERE
) -> AsyncIterator[tuple[Dashboard, Context]]:
    """The dashboard of a platform that has only some components."""
    async with (
        running_server(*components, data_dir=folder) as running,
        Informers(running.client) as informers,
    ):
        settings = Settings(folder, folder, gateway_url=rest_url)
        context = Context(running.client, informers, settings)
        async with TestClient(TestServer(create_app(context, components))) as client:
            yield client, context
            if "database" in context.__dict__:
                context.database.close()


async def shown(client: Dashboard, path: str) -> tuple[int, str]:
    async with client.get(path) as answer:
        return answer.status, await answer.text()


async def reloaded(client: Dashboard, path: str, *, says: str) -> str:
    """The page as it is once it says so."""
    async with asyncio.timeout(30):
        while says not in (page := (await shown(client, path))[1]):
            pass
    return page
