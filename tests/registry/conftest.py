"""The registry's REST face over a metadata database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from kubeling.component import Context, Settings
from kubeling.registry.api import routes


class Registry:
    """A client that speaks JSON."""

    def __init__(self, http: TestClient[Any, Any], prefix: str) -> None:
        self._http = http
        self._prefix = prefix

    async def send(
        self, method: str, path: str, body: Any = None, status: int = 0, **query: Any
    ) -> Any:
        """One request; without ``status`` it has to succeed."""
        answer = await self._http.request(
            method,
            f"{self._prefix}/{path}",
            json=body,
            params={k: str(v) for k, v in query.items()},
        )
        content = await answer.json()
        wanted = (status,) if status else (200, 201)
        assert answer.status in wanted, content
        return content

    async def get(self, path: str, status: int = 0, **query: Any) -> Any:
        return await self.send("GET", path, status=status, **query)

    async def post(self, path: str, status: int = 201, **body: Any) -> Any:
        return await self.send("POST", path, body, status)

    async def patch(self, path: str, status: int = 0, **body: Any) -> Any:
        return await self.send("PATCH", path, body, status)


@pytest.fixture(params=["/api/model_registry/v1alpha3", "/api/model_registry/v1"])
async def registry(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Registry]:
    context = Context(cast(Any, None), cast(Any, None), Settings(tmp_path, tmp_path))
    app = web.Application()
    app.add_routes(routes(context))
    async with TestClient(TestServer(app)) as http:
        yield Registry(http, request.param)
    context.database.close()
