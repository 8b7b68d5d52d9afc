"""How fast objects are stored: alone, many at once, and against raw SQLite on the same disk.

python benchmarks/object_store.py [--objects 2000]
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from kubeling.apiserver.records import StoreKey
from kubeling.apiserver.server import ApiServer, ApiServerConfig
from kubeling.apiserver.storage import Store, Write
from kubeling.kube.client import Client
from kubeling.kube.resources import PODS


def pod(name: str) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox", "env": [{"name": "A", "value": "1"}]}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container]},
    }


def raw_sqlite(folder: Path, count: int) -> float:
    """Seconds for one commit per object, with nothing around it."""
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE objects (name TEXT PRIMARY KEY, value BLOB)")
    began = time.perf_counter()
    for index in range(count):
        value = msgspec.json.encode(pod(f"p{index}"))
        connection.execute("INSERT INTO objects VALUES (?, ?)", (f"p{index}", value))
    elapsed = time.perf_counter() - began
    connection.close()
    return elapsed


async def store_alone(folder: Path, count: int) -> tuple[float, float]:
    """Seconds for writes one after the other, and for the same number at once."""
    store = Store.open(folder / "store.db")
    store.start()

    async def put(name: str) -> None:
        key = StoreKey("/pods", "default", name)
        async with store.exclusive(key):
            await store.write(Write(key, pod(name)))

    began = time.perf_counter()
    for index in range(count):
        await put(f"a{index}")
    single = time.perf_counter() - began
    began = time.perf_counter()
    await asyncio.gather(*(put(f"b{index}") for index in range(count)))
    together = time.perf_counter() - began
    await store.close()
    return single, together


async def whole_server(folder: Path, count: int) -> tuple[float, float]:
    """The same through the API: defaults, validation, admission, ownership of fields."""
    server = ApiServer(ApiServerConfig(folder / "server"))
    await server.start()
    client = Client(server.local_transport())
    await client.create(PODS, pod("warm"))
    began = time.perf_counter()
    for index in range(count):
        await client.create(PODS, pod(f"a{index}"))
    single = time.perf_counter() - began
    began = time.perf_counter()
    await asyncio.gather(*(client.create(PODS, pod(f"b{index}")) for index in range(count)))
    together = time.perf_counter() - began
    await server.stop()
    return single, together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=2000)
    count = parser.parse_args().objects
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = raw_sqlite(folder, count)
        store_single, store_together = asyncio.run(store_alone(folder, count))
        api_single, api_together = asyncio.run(whole_server(folder, count))
    rows = {
        "raw SQLite, one commit each": raw,
        "store, one after the other": store_single,
        "store, all at once": store_together,
        "pods through the API, one after the other": api_single,
        "pods through the API, all at once": api_together,
    }
    for label, seconds in rows.items():
        rate, ratio = count / seconds, seconds / raw
        print(f"{label:45} {seconds / count * 1000:6.3f} ms  {rate:8.0f}/s  {ratio:5.2f} x raw")


if __name__ == "__main__":
    main()
