"""What the object store guarantees: durability, order, snapshots, clear words when it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubeling.apiserver.database import ArtifactError, StorageFull, StorageInUse, StorageTooNew
from kubeling.apiserver.records import StoreKey, WatchExpired
from kubeling.apiserver.storage import Store, Write
from kubeling.kube.objects import Obj


def key(name: str, namespace: str = "default") -> StoreKey:
    return StoreKey("/configmaps", namespace, name)


def obj(**data: str) -> Obj:
    return {"metadata": {}, "data": data}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "objects.db"


@pytest.fixture(params=[False, True], ids=["quick", "safe from power loss"])
async def store(path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    store = Store.open(path, power_loss_safe=request.param, history_limit=10)
    store.start()
    yield store
    await store.close()


async def put(store: Store, name: str, **data: str) -> int:
    async with store.exclusive(key(name)):
        await store.write(Write(key(name), obj(**data)))
    return store.version


async def test_what_is_acknowledged_is_on_disk(store: Store, path: Path) -> None:
    await put(store, "a", x="1")
    await store.close()
    again = Store.open(path)
    record = again.get(key("a"))
    assert record is not None
    assert record.obj["data"] == {"x": "1"}
    assert again.version == store.version
    again.start()
    await again.close()


async def test_versions_never_go_back_even_when_the_last_write_deleted(
    store: Store, path: Path
) -> None:
    await put(store, "a")
    await store.write(Write(key("a"), None))
    last = store.version
    await store.close()
    again = Store.open(path)
    again.start()
    assert await put(again, "b") > last
    await again.close()


async def test_versions_go_on_from_what_an_earlier_release_wrote(store: Store, path: Path) -> None:
    await put(store, "a")
    last = store.version
    await store.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 1")
        connection.execute("UPDATE counter SET version = ?", (last + 5,))
    again = Store.open(path)
    again.start()
    assert again.get(key("a")) is not None
    assert await put(again, "b") > last + 5
    await again.close()


async def test_several_writes_happen_together(store: Store) -> None:
    await store.write(Write(key("a"), obj()), Write(key("b"), obj()))
    assert store.count("/configmaps") == 2
    first, second = (store.get(key(name)) for name in "ab")
    assert first is not None
    assert second is not None
    assert second.version == first.version + 1


async def test_the_log_beside_the_file_stays_small(store: Store, path: Path) -> None:
    for index in range(15):
        await put(store, f"a{index}", x="x" * 1_000_000)
    assert path.with_name("objects.db-wal").stat().st_size < 10_000_000
    await store.close()
    again = Store.open(path)
    assert again.count("/configmaps") == 15
    again.start()
    await again.close()


async def test_writes_small_and_large_happen_in_the_order_they_were_asked_for(
    store: Store,
) -> None:
    watcher = store.watch("/configmaps", store.version)
    sizes = [10, 3_000_000, 10, 10, 3_000_000, 10]
    await asyncio.gather(*(put(store, f"a{i}", x="x" * size) for i, size in enumerate(sizes)))
    events = [await watcher.next(1.0) for _ in sizes]
    assert [event.record.key.name for event in events if event] == [f"a{i}" for i in range(6)]


async def test_closing_waits_for_what_is_under_way(store: Store, path: Path) -> None:
    writing = [asyncio.create_task(put(store, f"a{i}", x="x" * 200_000)) for i in range(8)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writing)
    again = Store.open(path)
    assert again.count("/configmaps") == 8
    again.start()
    await again.close()


async def test_writers_of_one_object_take_turns(store: Store) -> None:
    await put(store, "n", count="0")

    async def increment() -> None:
        async with store.exclusive(key("n")) as record:
            assert record is not None
            count = int(record.obj["data"]["count"]) + 1
            await store.write(Write(key("n"), obj(count=str(count))))

    await asyncio.gather(*(increment() for _ in range(50)))
    record = store.get(key("n"))
    assert record is not None
    assert record.obj["data"] == {"count": "50"}


async def test_a_cancelled_writer_blocks_nobody_and_loses_nothing(store: Store) -> None:
    await put(store, "n", count="0")

    async def increment() -> None:
        async with store.exclusive(key("n")) as record:
            assert record is not None
            count = int(record.obj["data"]["count"]) + 1
            await store.write(Write(key("n"), obj(count=str(count))))

    tasks = [asyncio.create_task(increment()) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    finished = sum(result is None for result in done)
    async with store.exclusive(key("n")) as record:
        assert record is not None
        assert int(record.obj["data"]["count"]) >= finished >= 10


async def test_a_watch_misses_and_repeats_nothing(store: Store) -> None:
    start = store.version
    for index in range(3):
        await put(store, f"a{index}")
    watcher = store.watch("/configmaps", start)
    await put(store, "a3")
    await store.write(Write(key("a0"), None))
    events = [await watcher.next(1.0) for _ in range(5)]
    assert [(e.type, e.record.key.name) for e in events if e] == [
        ("ADDED", "a0"),
        ("ADDED", "a1"),
        ("ADDED", "a2"),
        ("ADDED", "a3"),
        ("DELETED", "a0"),
    ]
    versions = [event.version for event in events if event]
    assert versions == sorted(set(versions))
    assert await watcher.next(0.0) is None


async def test_a_watch_from_before_memory_is_expired(store: Store) -> None:
    start = store.version
    for index in range(12):
        await put(store, f"a{index}")
    with pytest.raises(WatchExpired):
        store.watch("/configmaps", start)
    store.watch("/configmaps", start + 2)


async def test_old_events_are_forgotten_with_time(store: Store) -> None:
    start = store.version
    await put(store, "a")
    store.forget(seconds=0)
    with pytest.raises(WatchExpired):
        store.watch("/configmaps", start)
    store.watch("/configmaps", store.version)


async def test_a_watcher_that_lags_is_dropped(path: Path) -> None:
    store = Store.open(path)
    store.start()
    watcher = store.watch("/configmaps", store.version)
    await asyncio.gather(*(put(store, f"a{index}") for index in range(5000)))
    assert watcher.closed
    assert await watcher.next(0.0) is None
    await store.close()


async def test_a_watcher_takes_what_waits_in_parts_that_a_slow_client_can_hold(path: Path) -> None:
    store = Store.open(path)
    store.start()
    watcher = store.watch("/configmaps", store.version)
    await asyncio.gather(*(put(store, f"a{index:03}") for index in range(250)))
    parts = [await watcher.take() for _ in range(3)]
    assert [len(part) for part in parts] == [100, 100, 50]
    told = [event.record.key.name for part in parts for event in part]
    assert told == [f"a{index:03}" for index in range(250)]
    watcher.rouse()
    assert not await watcher.take()
    await store.close()


async def test_a_list_can_be_had_as_of_an_earlier_version(store: Store) -> None:
    await put(store, "a", x="1")
    version = await put(store, "b", x="1")
    await put(store, "a", x="2")
    await put(store, "c")
    await store.write(Write(key("b"), None))
    before = store.behind_at(version, "/configmaps", "default")
    assert [(r.key.name, r.obj["data"]) for r in before] == [("a", {"x": "1"}), ("b", {"x": "1"})]


async def test_a_listener_knows_before_the_writer(store: Store) -> None:
    await put(store, "before")
    heard: list[str] = []
    store.subscribe("/configmaps", lambda event: heard.append(event.record.key.name))
    assert heard == ["before"]
    await put(store, "after")
    assert heard == ["before", "after"]


# --- what can go wrong -------------------------------------------------------------------------


async def test_a_store_in_use_is_refused(store: Store, path: Path) -> None:
    with pytest.raises(StorageInUse, match="in use by another process"):
        Store.open(path)


def test_a_newer_store_is_refused_and_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageTooNew, match=r"written by a newer release .*: upgrade"):
        Store.open(path)


def test_something_else_than_a_store_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    with pytest.raises(ArtifactError, match="is damaged"):
        Store.open(path)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot open"):
        Store.open(tmp_path / "file" / "objects.db")


async def test_a_full_disk_loses_nothing_and_says_so(store: Store, path: Path) -> None:
    await put(store, "a", x="1")
    version = store.version
    # Stands for the disk: SQLite refuses to grow the file past a number of pages.
    pages = store._database._connection.execute("PRAGMA page_count").fetchone()[0]
    store._database._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageFull, match="free some space"):
        await put(store, "b", x="y" * 100_000)
    assert store.get(key("b")) is None
    assert store.version == version
    store._database._connection.execute("PRAGMA max_page_count = 1000000")
    await put(store, "b", x="y")
    await store.close()
    again = Store.open(path)
    assert again.count("/configmaps") == 2
    again.start()
    await again.close()


async def test_a_file_that_may_not_grow_fails_cleanly(store: Store) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, limits[1]))
    try:
        with pytest.raises(ArtifactError):
            await put(store, "b", x="y" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert store.get(key("b")) is None
    await put(store, "b", x="y")
    assert store.get(key("b")) is not None
