"""Lists: pages that join to the whole, in order, whatever happens between them; names are found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.apiserver import RunningServer, running_server

from kubeling.kube.client import Client, ObjectList
from kubeling.kube.errors import Expired
from kubeling.kube.objects import new_object
from kubeling.kube.resources import CONFIG_MAPS, NAMESPACES

NAMES = [f"m{index:02}" for index in range(20)]


@pytest.fixture
async def running() -> AsyncIterator[RunningServer]:
    async with running_server() as running:
        client = running.client
        for namespace in ("one", "two"):
            await client.create(NAMESPACES, new_object(NAMESPACES, namespace))
            # In any order: a list has its own.
            for name in reversed(NAMES):
                await client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, name, namespace))
        yield running


@pytest.fixture
def client(running: RunningServer) -> Client:
    return running.client


def shown(found: ObjectList) -> list[tuple[str, str]]:
    metadata = [item["metadata"] for item in found.items]
    return [(one["namespace"], one["name"]) for one in metadata if one["name"].startswith("m")]


async def pages(client: Client, namespace: str, limit: int) -> AsyncIterator[ObjectList]:
    token = ""
    while True:
        page = await client.list(CONFIG_MAPS, namespace, limit=limit, continue_token=token)
        yield page
        if not (token := page.continue_token):
            return


@pytest.mark.parametrize("limit", [1, 7, 20, 100])
@pytest.mark.parametrize("namespace", ["", "one"])
async def test_pages_join_to_the_whole_list(client: Client, namespace: str, limit: int) -> None:
    whole = await client.list(CONFIG_MAPS, namespace)
    found = [page async for page in pages(client, namespace, limit)]
    assert [one for page in found for one in shown(page)] == shown(whole)
    assert all(len(page.items) == limit for page in found[:-1])


async def test_pages_show_the_moment_the_list_began(client: Client) -> None:
    before = shown(await client.list(CONFIG_MAPS, "one"))
    found: list[tuple[str, str]] = []
    async for page in pages(client, "one", 6):
        found += shown(page)
        await client.delete(CONFIG_MAPS, NAMES[-1], "one", missing_ok=True)
        await client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, f"m{len(found)}x", "one"))
    assert found == before
    assert shown(await client.list(CONFIG_MAPS, "one")) != before


async def test_a_list_that_took_too_long_is_given_a_way_on(running: RunningServer) -> None:
    client = running.client
    first = await client.list(CONFIG_MAPS, "one", limit=6)
    await client.delete(CONFIG_MAPS, NAMES[-1], "one")
    running.server.store.forget(0)
    with pytest.raises(Expired, match="too old to display a consistent list result") as caught:
        await client.list(CONFIG_MAPS, "one", limit=6, continue_token=first.continue_token)
    rest = await client.list(CONFIG_MAPS, "one", continue_token=caught.value.metadata["continue"])
    assert [*shown(first), *shown(rest)] == [("one", name) for name in NAMES[:-1]]


async def test_a_list_follows_what_comes_and_goes(client: Client) -> None:
    await client.delete(CONFIG_MAPS, "m03", "one")
    await client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "m03b", "one"))
    names = [name for _, name in shown(await client.list(CONFIG_MAPS, "one"))]
    assert names == sorted({*NAMES, "m03b"} - {"m03"})


async def test_a_name_is_found_in_every_namespace_it_is_in(client: Client) -> None:
    everywhere = await client.list(CONFIG_MAPS, fields="metadata.name=m05")
    assert shown(everywhere) == [("one", "m05"), ("two", "m05")]
    assert shown(await client.list(CONFIG_MAPS, "two", fields="metadata.name==m05")) == [
        ("two", "m05")
    ]
    assert not (await client.list(CONFIG_MAPS, "two", fields="metadata.name=none")).items
    others = await client.list(CONFIG_MAPS, "two", fields="metadata.name!=m05")
    assert ("two", "m05") not in shown(others)
    assert len(shown(others)) == len(NAMES) - 1


async def test_a_watch_of_a_name_tells_of_nothing_else(client: Client) -> None:
    watch = client.watch(CONFIG_MAPS, fields="metadata.name=m05", bookmarks=True)
    first = [await anext(watch), await anext(watch)]
    assert [event.object["metadata"]["namespace"] for event in first] == ["one", "two"]
    end = (await anext(watch)).object["metadata"]["annotations"]
    assert end == {"k8s.io/initial-events-end": "true"}
    await client.patch(CONFIG_MAPS, "m06", {"data": {"a": "b"}}, "one")
    await client.patch(CONFIG_MAPS, "m05", {"data": {"a": "b"}}, "two")
    async with asyncio.timeout(5):
        event = await anext(watch)
    assert (event.type, event.object["metadata"]["name"]) == ("MODIFIED", "m05")


async def test_a_collection_is_deleted_whole_however_large(client: Client) -> None:
    labels = {"app": "many"}
    made = [new_object(CONFIG_MAPS, f"n{i:03}", "one", labels=labels) for i in range(450)]
    await asyncio.gather(*(client.create(CONFIG_MAPS, obj) for obj in made))
    await client.delete_collection(CONFIG_MAPS, "one", labels="app=many")
    assert not (await client.list(CONFIG_MAPS, labels="app=many")).items
    assert len(shown(await client.list(CONFIG_MAPS, "one"))) == len(NAMES)
