"""Whatever is wrong with an object, wherever: it is refused in words, never by a crash.

Every kind is sent with every one of its fields, some of them replaced by something else, in every
way that objects can be sent. ``--fuzz 20`` goes on for longer.
"""

from __future__ import annotations

import asyncio
import json
import random
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.apiserver import RunningServer, running_server
from tests.support.broken import broken, sample_of

from kubeling.apiserver.query import Query
from kubeling.apiserver.requests import ApiRequest
from kubeling.apiserver.served import Served
from kubeling.apiserver.user import ADMIN
from kubeling.component import load_components
from kubeling.kube import yaml
from kubeling.kube.errors import ApiError
from kubeling.kube.objects import Obj
from kubeling.kube.transport import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH

VALID = Path(__file__).parents[1] / "support" / "valid.yaml"
PATCHES = (MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH, JSON_PATCH)
STREAMS = ("exec", "attach", "portforward", "proxy", "log")
ROUNDS = 5
PATIENCE = 5.0
"""Seconds after which a request counts as hanging."""


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server(*load_components()) as running:
        yield running


class Sender:
    """Sends requests as bytes; keeps the codes of the answers, and what was no answer."""

    def __init__(self, running: RunningServer) -> None:
        self._server = running.server
        self.codes: set[int] = set()
        self.crashes: dict[str, str] = {}
        """One request for every place where the server failed."""

    async def __call__(self, method: str, path: str, body: Any, kind: str, **query: str) -> None:
        request = ApiRequest(
            method,
            path,
            ADMIN,
            Query([*query.items(), ("dryRun", "All")]),
            text=json.dumps(body).encode(),
            content_type=kind,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._server.handle(request)
            code = getattr(answer, "code", 200)
        except ApiError as error:
            code = error.status_code
            json.dumps(error.status)
            if code >= 500:
                self._note(str(error), request)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            self._note(f"{error!r} at {frame.filename}:{frame.lineno}", request)
            return
        self.codes.add(code)

    def _note(self, crash: str, request: ApiRequest) -> None:
        shown = f"{request.method} {request.path} {request.content_type} {request.text[:1000]!r}"
        self.crashes.setdefault(crash, shown)


def kinds(running: RunningServer) -> list[Served]:
    return [one for one in running.server.catalog if one.resource.group != "metrics.k8s.io"]


async def test_no_object_breaks_the_server(running: RunningServer, fuzz: int) -> None:
    chance = random.Random(fuzz)
    send = Sender(running)
    for served in kinds(running):
        whole = sample_of(served)
        path = served.resource.path("default" if served.resource.namespaced else "")
        for _ in range(ROUNDS * fuzz):
            await send("POST", path, broken(whole, chance), "application/json")
    assert not send.crashes
    assert {201, 400, 422} <= send.codes


async def test_no_change_breaks_the_server(running: RunningServer, fuzz: int) -> None:
    chance = random.Random(fuzz + 1)
    send = Sender(running)
    for served, there in await _fill(running):
        namespace, name = there["metadata"].get("namespace", ""), there["metadata"]["name"]
        for subresource in ("", *sorted(served.subresources)):
            if subresource in STREAMS:
                continue
            path = served.resource.path(namespace, name, subresource)
            for _ in range(ROUNDS * fuzz):
                wrong = broken({**sample_of(served), **there}, chance)
                part = {key: wrong[key] for key in wrong if chance.random() < 0.6}
                change = [{"op": "replace", "path": f"/{key}", "value": part[key]} for key in part]
                await send("PUT", path, wrong, "application/json")
                await send("POST", path, wrong, "application/json")
                for kind in PATCHES:
                    body = change if kind == JSON_PATCH else part
                    options = {"fieldManager": "f", "force": "1"} if kind == APPLY_PATCH else {}
                    await send("PATCH", path, body, kind, **options)
    assert not send.crashes
    assert {200, 400, 409, 422} <= send.codes


async def _fill(running: RunningServer) -> list[tuple[Served, Obj]]:
    """One object of every kind that has a small one, and of every version that shows it."""
    text = VALID.read_text()
    for obj in yaml.load_all(text):
        served = running.server.catalog.of_kind(obj["apiVersion"], obj["kind"])
        assert served is not None, obj["kind"]
        namespace = "default" if served.resource.namespaced else ""
        await running.client.create(served.resource, obj, namespace)
    there = []
    for served in running.server.catalog:
        for record in running.server.store.list(served.storage):
            if record.key.name.startswith("there"):
                there.append((served, served.present(record.obj)))
    return there
