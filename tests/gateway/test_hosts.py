"""Under which names the platform answers: a page of another name, led here, learns nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from kubeling.gateway.hosts import AllowedHosts, known_hosts


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8080",
        "LOCALHOST",
        "127.0.0.1:8080",
        "[::1]:8080",
        "[::1]",
        "192.168.1.7:80",
        "notes.localhost:8080",
        "localhost.:8080",
        # By these names pods ask.
        "ml-pipeline.kubeflow:8888",
        "kubeling.kubeflow.svc",
        "ml-pipeline.kubeflow.svc.cluster.local:8888",
        # These were configured.
        "kf.example",
        "a.lab.example:443",
    ],
)
def test_our_names_and_any_address_are_answered(host: str) -> None:
    assert AllowedHosts(["kf.example", "*.lab.example"]).allows(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8080",
        "evillocalhost",
        "lab.example",
        "evil.kubeflow.example",
        "kf.example.evil.example",
        "",
    ],
)
def test_other_names_are_not(host: str) -> None:
    assert not AllowedHosts(["kf.example", "*.lab.example"]).allows(host)


def test_a_star_answers_to_any_name() -> None:
    assert AllowedHosts(["*"]).allows("evil.example")


@pytest.fixture
async def client() -> AsyncIterator[TestClient[web.Request, web.Application]]:
    async def secret(_: web.Request) -> web.Response:
        return web.Response(text="secret")

    app = web.Application(middlewares=[known_hosts(AllowedHosts())])
    app.router.add_get("/", secret)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_a_refusal_says_how_to_allow_the_name(
    client: TestClient[web.Request, web.Application],
) -> None:
    async with client.get("/") as answer:
        assert await answer.text() == "secret"
    async with client.get("/", headers={"Host": "kf.example"}) as answer:
        assert answer.status == 421
        said = await answer.text()
        assert "gateway.allowed_hosts: [kf.example]" in said
        assert "secret" not in said


async def test_a_browser_is_shown_a_page_without_the_names_markup(
    client: TestClient[web.Request, web.Application],
) -> None:
    headers = {"Host": "<b>.example", "Accept": "text/html,*/*"}
    async with client.get("/", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (421, "text/html")
        assert "<b>" not in await answer.text()
