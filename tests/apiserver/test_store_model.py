"""Whatever is written in whatever order: list and watch tell one and the same story."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.storage import Store, Write

NAMES = st.sampled_from("abcd")
WRITES = st.lists(st.tuples(NAMES, st.none() | st.integers(0, 9)), max_size=30)


async def _told(writes: list[tuple[str, int | None]], path: Path) -> None:
    store = Store.open(path)
    store.start()
    states: dict[int, dict[str, int]] = {store.version: {}}
    present: dict[str, int] = {}
    for name, value in writes:
        key = StoreKey("/things", "default", name)
        obj = None if value is None else {"metadata": {}, "value": value}
        await store.write(Write(key, obj))
        if value is None:
            present.pop(name, None)
        else:
            present[name] = value
        states[store.version] = dict(present)
    for version, state in states.items():
        listed = store.behind_at(version, "/things", "default")
        assert {r.key.name: r.obj["value"] for r in listed} == state
        watcher = store.watch("/things", version)
        while (event := await watcher.next(0.0)) is not None:
            if event.type == "DELETED":
                del state[event.record.key.name]
            else:
                assert (event.type == "ADDED") == (event.record.key.name not in state)
                state[event.record.key.name] = event.record.obj["value"]
        assert state == present
        watcher.close()
    await store.close()
    again = Store.open(path)
    assert {r.key.name: r.obj["value"] for r in again.list("/things")} == present
    again.start()
    await again.close()


@settings(max_examples=40, deadline=None)
@given(WRITES)
def test_every_version_can_be_listed_and_followed(writes: list[tuple[str, int | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_told(writes, Path(folder) / "objects.db"))
