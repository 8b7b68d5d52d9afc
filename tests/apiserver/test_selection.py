"""Selectors find the same whether an index answers or every object is looked at."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.apiserver import running_server

from kubeling.apiserver.database import Database
from kubeling.apiserver.listing import list_objects
from kubeling.apiserver.options import ListOptions
from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.selection import Selection
from kubeling.apiserver.served import FreeShape, Served
from kubeling.apiserver.storage import Store, Write
from kubeling.apiserver.strategy import Strategy
from kubeling.kube.client import Client
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CONFIG_MAPS, PODS

POD_KIND = Served(PODS, PODS, Strategy(), FreeShape())
PODS_KEPT = "/pods"

LABELS = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from("xyz"))
WRITES = st.lists(
    st.tuples(
        st.sampled_from(["one", "two"]),
        st.sampled_from("abcd"),
        st.none() | st.tuples(LABELS, st.sampled_from(["Running", "Failed"])),
    ),
    min_size=1,
    max_size=25,
)
SELECTORS = st.sampled_from(
    ["", "app=x", "app=x,tier=y", "app in (x,y)", "app", "!app", "app!=x", "app notin (x),tier"]
)
FIELDS = st.sampled_from(
    ["", "status.phase=Failed", "status.phase!=Failed", "metadata.name=a", "metadata.name!=a",
     "metadata.namespace=one", "metadata.name=b,status.phase=Running", "spec.nodeName="]
)  # fmt: skip

Wish = tuple[str, str, str, int]


def pod(namespace: str, name: str, labels: dict[str, str], phase: str) -> Obj:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "metadata": metadata, "status": {"phase": phase}}


def by_looking(store: Store, namespace: str, options: ListOptions) -> list[StoreKey]:
    selection = Selection.of(POD_KIND, options)
    return [r.key for r in store.list(PODS_KEPT, namespace) if selection.matches(r)]


def key(obj: Obj) -> StoreKey:
    return StoreKey(PODS_KEPT, obj["metadata"]["namespace"], obj["metadata"]["name"])


async def _found(writes: Sequence[tuple[str, str, tuple[dict[str, str], str] | None]],
    wish: Wish, path: Path,
) -> None:  # fmt: skip
    namespace, labels, fields, limit = wish
    store = Store(Database(path), index_from=0)
    store.start()
    whole = ListOptions(labels=labels, fields=fields)
    for at, name, made in writes:
        obj = None if made is None else pod(at, name, *made)
        expected = by_looking(store, namespace, whole)
        listed = list_objects(store, POD_KIND, namespace, whole)
        assert [key(item) for item in listed.obj["items"]] == expected
        first = list_objects(
            store, POD_KIND, namespace, ListOptions(labels=labels, fields=fields, limit=limit)
        )
        await store.write(Write(StoreKey(PODS_KEPT, at, name), obj))
        # The other pages show the moment of the first, whatever was written since.
        found = [key(item) for item in first.obj["items"]]
        metadata = first.metadata
        while token := metadata.get("continue"):
            options = ListOptions(labels=labels, fields=fields, limit=limit, continue_token=token)
            page = list_objects(store, POD_KIND, namespace, options)
            found += [key(item) for item in page.obj["items"]]
            if "remainingItemCount" in metadata:
                left = metadata["remainingItemCount"]
                assert left == len(page.records) + page.metadata.get("remainingItemCount", 0)
            metadata = page.metadata
        assert found == expected
    expected = by_looking(store, namespace, whole)
    await store.close()
    again = Store(Database(path), index_from=0)
    listed = list_objects(again, POD_KIND, namespace, whole)
    assert [record.key for record in listed.records] == expected
    await again.close()


@settings(max_examples=60, deadline=None)
@given(WRITES, st.tuples(st.sampled_from(["", "one"]), SELECTORS, FIELDS, st.integers(1, 3)))
def test_an_index_finds_what_looking_at_all_finds(
    writes: list[tuple[str, str, tuple[dict[str, str], str] | None]], wish: Wish
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_found(writes, wish, Path(folder) / "objects.db"))


async def test_an_index_knows_what_was_written_while_it_was_made(tmp_path: Path) -> None:
    store = Store(Database(tmp_path / "objects.db"))
    store.start()

    def write(number: int, app: str | None) -> Write:
        name = f"p{number:04}"
        obj = None if app is None else pod("one", name, {"app": app}, "Running")
        return Write(StoreKey(PODS_KEPT, "one", name), obj)

    await store.write(*(write(number, "xyz"[number % 3]) for number in range(2500)))
    options = ListOptions(labels="app=x")
    growing = asyncio.create_task(
        store.grow(PODS_KEPT, Selection.of(POD_KIND, options).where), name="growing"
    )
    await asyncio.sleep(0)
    for number in range(0, 2600, 100):
        await store.write(write(number, "x"), write(number + 1, None), write(2700 + number, "x"))
        await store.write(write(number, "y"))
    await growing
    expected = by_looking(store, "one", options)
    assert [record.key for record in list_objects(store, POD_KIND, "one", options).records] == (
        expected
    )
    await store.close()


@pytest.mark.parametrize("labels", ["app=web", "app in (web,none)", "app,app!=db", "n=7"])
async def test_many_objects_are_selected_as_few_are(labels: str) -> None:
    async with running_server() as running:
        client = Client(running.server.local_transport())

        async def make(index: int) -> None:
            app = "web" if index % 3 == 0 else "db"
            obj = new_object(
                CONFIG_MAPS, f"m{index:03}", "default", labels={"app": app, "n": str(index % 10)}
            )
            await client.create(CONFIG_MAPS, obj)

        async def names() -> list[str]:
            found = await client.list(CONFIG_MAPS, "default", labels=labels)
            return [item["metadata"]["name"] for item in found.items]

        def wanted(index: int) -> bool:
            return index % 10 == 7 if labels == "n=7" else index % 3 == 0

        await asyncio.gather(*(make(index) for index in range(600)))
        expected = [f"m{index:03}" for index in range(600) if wanted(index)]
        assert await names() == expected
        await client.patch(CONFIG_MAPS, expected[0], {"metadata": {"labels": None}}, "default")
        await client.delete(CONFIG_MAPS, expected[-1], "default")
        assert await names() == expected[1:-1]
