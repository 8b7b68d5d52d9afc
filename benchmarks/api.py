"""How fast the API answers: every goal with its value, its limit, its peer and how it grows.

    python benchmarks/api.py [--part https] [--requests 3000] [--watchers 500] [--objects 100000]

The server runs in a process of its own and the clients in this one; only the part "process" has
both in one. What a request costs the server's CPU hardly depends on what else the machine does, the
rates do: each is the best of a few rounds, and ours and the bare server take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvloop
from api_server import Kind, Served, collect_garbage_as_up_does, raw_commits, served
from figures import MEBIBYTES, MILLISECONDS, PER_SECOND, SECONDS, figure, growth, heading
from https_load import Audience, Connection, config_map, rate

from kubeling.apiserver.server import ApiServer, ApiServerConfig
from kubeling.kube.client import Client
from kubeling.kube.resources import CONFIG_MAPS

MAPS = "/api/v1/namespaces/default/configmaps"
CLIENTS = (1, 8, 32)
GROUPS = (1, 50)
PEER_CREATES = {1: 460, 8: 700, 32: 1380}
PEER_GETS = {1: 730, 32: 1180}
PEER_MEBIBYTES = 660
"""kube-apiserver 1.36 with etcd (and its controllers) on the 2 cores the goals were set for."""
_names = itertools.count()


@dataclass(frozen=True)
class Sizes:
    requests: int
    rounds: int
    watchers: int
    objects: int


# --- requests -----------------------------------------------------------------------------------


Send = Callable[[Connection, int], Awaitable[bytes]]


async def create(connection: Connection, _: int) -> bytes:
    return await connection.request("POST", MAPS, config_map(f"c{next(_names)}"))


async def get(connection: Connection, _: int) -> bytes:
    return await connection.request("GET", f"{MAPS}/one")


async def list_page(connection: Connection, _: int) -> bytes:
    return await connection.request("GET", f"{MAPS}?limit=100")


@dataclass(frozen=True)
class Speed:
    """Requests a second, and what each cost the server."""

    rate: float
    cpu_ms: float

    @property
    def cost(self) -> str:
        return f"{self.cpu_ms:.3f} ms CPU each: {1000 / self.cpu_ms:,.0f}/s on a core of its own"


async def measured(server: Served, clients: int, count: int, send: Send) -> Speed:
    await rate(server.endpoint, clients, 50, send)
    before = server.cpu_seconds()
    found = await rate(server.endpoint, clients, count, send)
    return Speed(found, (server.cpu_seconds() - before) / count * 1000)


def best(speeds: list[Speed]) -> Speed:
    return Speed(max(one.rate for one in speeds), min(one.cpu_ms for one in speeds))


# --- parts --------------------------------------------------------------------------------------


async def limits(folder: Path, sizes: Sizes) -> None:
    """What SQLite can commit on this disk, which no create can beat."""
    heading("Raw SQLite")
    for synchronous in ("FULL", "NORMAL"):
        for group in GROUPS:
            path = folder / f"{synchronous}{group}.db"
            speed = raw_commits(path, synchronous, sizes.requests // group * group, group)
            figure(f"synchronous={synchronous}, {group} in a commit", PER_SECOND, speed)


async def https(folder: Path, sizes: Sizes) -> None:
    """Creates, gets and pages over HTTPS with keep-alive, beside the bare server."""
    kinds: tuple[Kind, ...] = ("raw", "ours", "waiting for the disk")
    raw, ours, safe = (served(folder / kind, kind) for kind in kinds)
    async with raw as bare, ours as quick, safe as slow:
        connection = await quick.endpoint.connect()
        await connection.request("POST", MAPS, config_map("one"))
        for clients in CLIENTS:
            heading(f"HTTPS with keep-alive, {clients} client{'s' * (clients > 1)}")
            turns: dict[str, tuple[Served, Send, int]] = {
                "raw JSON": (bare, create, 1),
                "creates": (quick, create, 1),
                "creates that wait for the disk": (slow, create, 2),
                "gets": (quick, get, 1),
                "pages of 100": (quick, list_page, 10),
            }
            found: dict[str, list[Speed]] = {}
            for _ in range(sizes.rounds):
                for label, (server, send, share) in turns.items():
                    speed = await measured(server, clients, sizes.requests // share, send)
                    found.setdefault(label, []).append(speed)
            _show_https(clients, {label: best(speeds) for label, speeds in found.items()})
        await _latency(quick, connection, sizes)
        await connection.close()


def _show_https(clients: int, found: dict[str, Speed]) -> None:
    goals = {"creates": 2000, "gets": 3000} if clients == 32 else {}
    peers = {
        "creates": PEER_CREATES,
        "creates that wait for the disk": PEER_CREATES,
        "gets": PEER_GETS,
    }
    raw = found.pop("raw JSON")
    figure("raw JSON", PER_SECOND, raw.rate, note=raw.cost)
    for label, speed in found.items():
        figure(
            label,
            PER_SECOND,
            speed.rate,
            goal=goals.get(label),
            peer=peers.get(label, {}).get(clients),
            limit=("raw JSON", raw.rate),
            note=speed.cost,
        )


async def _latency(server: Served, connection: Connection, sizes: Sizes) -> None:
    times = sorted([await _milliseconds(connection, f"{MAPS}/one") for _ in range(sizes.requests)])
    figure("a get, the median of one client", MILLISECONDS, times[len(times) // 2], goal=0.5)
    figure("  the slowest of a hundred", MILLISECONDS, times[len(times) * 99 // 100])


async def process(folder: Path, sizes: Sizes) -> None:
    """The same in the server's own process, as the controllers do it."""
    heading("In process")
    server = ApiServer(ApiServerConfig(folder / "local"))
    await server.start()
    collect_garbage_as_up_does()
    client = Client(server.local_transport())

    async def make() -> None:
        body = msgspec.json.decode(config_map(f"c{next(_names)}"))
        await client.create(CONFIG_MAPS, body, "default")

    async def read() -> None:
        await client.get(CONFIG_MAPS, "one", "default")

    await client.create(CONFIG_MAPS, msgspec.json.decode(config_map("one")), "default")
    limit = raw_commits(folder / "process.db", "NORMAL", sizes.requests // 50 * 50, 50)
    for workers in CLIENTS:
        speed = best([await _together(make, sizes.requests, workers) for _ in range(sizes.rounds)])
        figure(
            f"creates, {workers} at once",
            PER_SECOND,
            speed.rate,
            goal=10_000 if workers == CLIENTS[-1] else None,
            limit=("raw SQLite, 50 in a commit", limit),
            note=speed.cost,
        )
    speed = best([await _together(read, sizes.requests, 1) for _ in range(sizes.rounds)])
    figure("gets", PER_SECOND, speed.rate, note=speed.cost)
    await server.stop()


async def _together(work: Callable[[], Awaitable[None]], count: int, workers: int) -> Speed:
    numbers = iter(range(count))

    async def worker() -> None:
        for _ in numbers:
            await work()

    await work()
    began, before = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(workers)))
    elapsed, used = time.perf_counter() - began, time.process_time() - before
    return Speed(count / elapsed, used / count * 1000)


async def watches(folder: Path, sizes: Sizes) -> None:
    """From sending one change to its arrival at the last watcher, over HTTPS."""
    heading("Watches")
    counts = sizes.watchers // 2, sizes.watchers
    quickest, costs = [], []
    async with served(folder / "watches") as server:
        writer = await server.endpoint.connect()
        for count in counts:
            audience = await Audience.of(server.endpoint, f"{MAPS}?watch=true", count)
            await _spread(writer, audience)
            before = server.cpu_seconds()
            times = sorted([await _spread(writer, audience) for _ in range(_CHANGES)])
            cost = (server.cpu_seconds() - before) / _CHANGES * 1000
            goal = 50 if count == 500 else None
            label = f"one change to {count} watchers"
            figure(label, MILLISECONDS, times[0], goal=goal, note=f"{cost:.1f} ms CPU")
            figure("  the median", MILLISECONDS, times[_CHANGES // 2])
            quickest.append(times[0])
            costs.append(cost)
            audience.close()
    growth("a change's way", MILLISECONDS, counts, (quickest[0], quickest[1]))
    growth("the server's CPU", MILLISECONDS, counts, (costs[0], costs[1]))


_CHANGES = 20


async def _spread(writer: Connection, audience: Audience) -> float:
    began = time.perf_counter()
    body = config_map(f"w{next(_names)}")
    await asyncio.gather(writer.request("POST", MAPS, body), audience.expect())
    return (time.perf_counter() - began) * 1000


async def objects(folder: Path, sizes: Sizes) -> None:
    """Many objects: filling, memory, starting on them, pages and selections of them."""
    found: list[dict[str, float]] = []
    counts = sizes.objects // 2, sizes.objects
    for count in counts:
        heading(f"{count:,} objects of 1 KB held")
        missing = count - (counts[0] if found else 0)
        found.append(await _held(folder / "held", missing, sizes))
    heading("Twice the objects")
    units = {"memory": MEBIBYTES, "held": MEBIBYTES, "start": SECONDS, "creates": PER_SECOND}
    for label in found[0]:
        values = found[0][label], found[1][label]
        growth(label, units.get(label, MILLISECONDS), counts, values)


async def _held(data: Path, missing: int, sizes: Sizes) -> dict[str, float]:
    found: dict[str, float] = {}
    async with served(data) as server:
        filling = await rate(server.endpoint, 32, missing, create)
        found["held"] = server.mebibytes()
        figure("filled over HTTPS", PER_SECOND, filling)
        figure("memory when filled", MEBIBYTES, found["held"], goal=1024, peer=PEER_MEBIBYTES)
    async with served(data) as server:
        found["start"] = server.ready_seconds
        figure("from starting the process to ready", SECONDS, found["start"], goal=5)
        connection = await server.endpoint.connect()
        for label, query in _READS.items():
            first = await _milliseconds(connection, MAPS + query)
            times = [await _milliseconds(connection, MAPS + query) for _ in range(20)]
            found[label] = min(times)
            figure(label, MILLISECONDS, found[label], note=f"the first {first:.1f} ms")
        found["memory"] = server.mebibytes()
        figure("memory after reading", MEBIBYTES, found["memory"], goal=1024)
        speeds = [
            await measured(server, 32, sizes.requests // sizes.rounds, create)
            for _ in range(sizes.rounds)
        ]
        found["creates"] = best(speeds).rate
        figure("creates, 32 clients", PER_SECOND, found["creates"], note=best(speeds).cost)
        before = server.cpu_seconds()
        await asyncio.sleep(_IDLE_SECONDS)
        used = (server.cpu_seconds() - before) / _IDLE_SECONDS
        print(f"{'CPU when nothing is asked':44} {used * 100:10.2f} %  of a core   goal none")
    return found


_IDLE_SECONDS = 10
_READS = {
    "a get": "/kube-root-ca.crt",
    "a page of 100": "?limit=100",
    "a page of 100 by label": "?labelSelector=app%3Dbench&limit=100",
    "a label that none has": "?labelSelector=app%3Dnone",
    "one of a name": "?fieldSelector=metadata.name%3Dkube-root-ca.crt",
}


async def _milliseconds(connection: Connection, path: str) -> float:
    began = time.perf_counter()
    await connection.request("GET", path)
    return (time.perf_counter() - began) * 1000


# --- main ---------------------------------------------------------------------------------------

PARTS = {
    "limits": limits,
    "process": process,
    "https": https,
    "watches": watches,
    "objects": objects,
}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this; may be repeated")
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    parser.add_argument("--watchers", type=int, default=500)
    parser.add_argument("--objects", type=int, default=100_000)
    given = parser.parse_args()
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 4:
        print(f"Others keep {load:.1f} of {cores} cores busy: judge by CPU, not by rates.")
    sizes = Sizes(given.requests, given.rounds, given.watchers, given.objects)
    with tempfile.TemporaryDirectory() as name:
        for part in given.part or PARTS:
            await PARTS[part](Path(name), sizes)


if __name__ == "__main__":
    uvloop.run(main())
