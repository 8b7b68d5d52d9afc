"""Informers: a cache that is right again after anything that happens to its watch."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.apiserver import running_server

from kubeling.kube.client import Client
from kubeling.kube.errors import Expired
from kubeling.kube.informer import Informer, Informers
from kubeling.kube.objects import Obj, name, new_object, owner_reference
from kubeling.kube.resources import CONFIG_MAPS
from kubeling.kube.transport import Request, Transport, WatchEvent


class Flaky:
    """A transport whose next watches fail; everything else goes to the real one."""

    def __init__(self, inner: Transport, *failures: Exception) -> None:
        self._inner = inner
        self._failures = list(failures)

    async def send(self, request: Request) -> Obj:
        return await self._inner.send(request)

    async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        if self._failures:
            raise self._failures.pop(0)
        async for event in self._inner.watch(request):
            yield event

    def stream(self, request: Request) -> AsyncIterator[bytes]:
        return self._inner.stream(request)

    async def close(self) -> None:
        await self._inner.close()


async def seen(informer: Informer, wanted: str) -> None:
    """Waits until the cache holds an object of that name."""
    there = asyncio.Event()

    def note(_old: Obj | None, new: Obj | None) -> None:
        if new is not None and name(new) == wanted:
            there.set()

    informer.add_handler(note)
    async with asyncio.timeout(10):
        await there.wait()


async def test_an_object_that_one_handler_fails_on_is_told_to_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running_server() as running, Informers(running.client) as informers:
        informer = informers.of(CONFIG_MAPS)
        await informer.wait_synced()
        informer.add_handler(lambda _old, new: (new or {})["data"]["x"])
        for title in ("a", "b"):
            await running.client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, title, "default"))
            await seen(informer, title)
        assert "ConfigMap default/a cannot be followed" in caplog.text


async def test_the_cache_follows_creations_changes_and_deletions() -> None:
    async with running_server() as running, Informers(running.client) as informers:
        client, informer = running.client, informers.of(CONFIG_MAPS)
        await informer.wait_synced()
        events: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

        def note(old: Obj | None, new: Obj | None) -> None:
            kind = "added" if old is None else "deleted" if new is None else "changed"
            if name(new or old or {}) == "a":
                events.put_nowait((kind, (new or old or {}).get("data", {}).get("x", "")))

        informer.add_handler(note)
        await client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "a", "default", data={"x": "1"}))
        await client.patch(CONFIG_MAPS, "a", {"data": {"x": "2"}}, "default")
        await client.delete(CONFIG_MAPS, "a", "default")
        async with asyncio.timeout(10):
            found = [await events.get() for _ in range(3)]
        assert found == [("added", "1"), ("changed", "2"), ("deleted", "2")]
        assert informer.get("default", "a") is None


async def test_a_lost_connection_and_an_expired_version_lose_nothing() -> None:
    async with running_server() as running:
        flaky = Flaky(running.server.local_transport(), ConnectionError("cut"), Expired("too old"))
        async with Informers(Client(flaky)) as informers:
            informer = informers.of(CONFIG_MAPS)
            await informer.wait_synced()
            made = new_object(CONFIG_MAPS, "while-away", "default")
            await running.client.create(CONFIG_MAPS, made)
            await seen(informer, "while-away")


async def test_dependents_are_found_by_their_owner() -> None:
    async with running_server() as running, Informers(running.client) as informers:
        client, informer = running.client, informers.of(CONFIG_MAPS)
        owner = await client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "owner", "default"))
        child = new_object(CONFIG_MAPS, "child", "default", owner=owner)
        await client.create(CONFIG_MAPS, child)
        await seen(informer, "child")
        uid: Any = owner_reference(owner)["uid"]
        assert [name(obj) for obj in informer.owned_by(uid)] == ["child"]
        assert [name(obj) for obj in informer.list("default") if name(obj) == "child"] == ["child"]


async def test_of_much_only_what_identifies_it_may_be_kept() -> None:
    async with running_server() as running:
        owner = await running.client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "o", "default"))
        for number in range(501):
            body = new_object(CONFIG_MAPS, f"c{number}", "default", owner=owner, data={"x": "y"})
            await running.client.create(CONFIG_MAPS, body)
        async with Informers(running.client) as informers:
            informer = informers.metadata_of(CONFIG_MAPS)
            await informer.wait_synced()
            assert len(informer.owned_by(owner["metadata"]["uid"])) == 501
            await running.client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "late", "default"))
            await seen(informer, "late")
            assert {key for obj in informer.list() for key in obj} == {"metadata"}


async def test_a_resource_has_one_cache_however_it_is_spelled() -> None:
    async with running_server() as running, Informers(running.client) as informers:
        bare = dataclasses.replace(CONFIG_MAPS, short_names=())
        assert bare != CONFIG_MAPS
        assert informers.of(bare) is informers.of(CONFIG_MAPS)
