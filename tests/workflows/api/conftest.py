"""The Argo Server API over a real server and real pods."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.workflows.conftest import Cluster

from kubeling.kube.objects import Obj
from kubeling.kube.resources import ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS
from kubeling.workflows.component import COMPONENT


@dataclass
class Api:
    """A client of the API, with somebody's token or none."""

    http: TestClient[web.Request, web.Application]
    cluster: Cluster
    token: str = ""

    async def call(
        self, method: str, path: str, body: Any = None, status: int = 200, **query: str
    ) -> Obj:
        """What is answered; the status has to be the expected one."""
        params = {key.replace("__", "."): value for key, value in query.items()}
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self.http.request(
            method, path, json=body, params=params, headers=headers
        ) as response:
            text = await response.text()
            assert response.status == status, text
            answer: Obj = await response.json()
            return answer

    async def get(self, path: str, status: int = 200, **query: str) -> Obj:
        return await self.call("GET", f"/api/v1/{path}", None, status, **query)

    async def post(self, path: str, body: Any, status: int = 200) -> Obj:
        return await self.call("POST", f"/api/v1/{path}", body, status)

    async def put(self, path: str, body: Any = None, status: int = 200) -> Obj:
        return await self.call("PUT", f"/api/v1/{path}", body or {}, status)

    async def delete(self, path: str, status: int = 200, **query: str) -> Obj:
        return await self.call("DELETE", f"/api/v1/{path}", None, status, **query)

    async def named(self, account: str) -> Api:
        """As a service account, which may do nothing yet."""
        made = {"metadata": {"name": account}}
        await self.cluster.client.create(SERVICE_ACCOUNTS, made, "default")
        answer = await self.cluster.client.create_subresource(
            SERVICE_ACCOUNTS, account, "default", "token", {"spec": {}}
        )
        return Api(self.http, self.cluster, answer["status"]["token"])

    async def permit(self, account: str, group: str, plural: str, *verbs: str) -> None:
        """Lets a service account do something in its namespace."""
        client = self.cluster.client
        rule = {"apiGroups": [group], "resources": [plural], "verbs": list(verbs)}
        named = {"metadata": {"name": f"{account}-{plural}"}}
        await client.create(ROLES, {**named, "rules": [rule]}, "default")
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role"}
        binding = {
            **named,
            "roleRef": {**role, "name": f"{account}-{plural}"},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "default"}],
        }
        await client.create(ROLE_BINDINGS, binding, "default")


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Api]:
    """The API as whoever reaches the gateway uses it."""
    app = web.Application()
    app.add_routes(COMPONENT.routes(cluster.context))
    async with TestClient(TestServer(app)) as http:
        yield Api(http, cluster)
    if "database" in cluster.context.__dict__:
        cluster.context.database.close()
