"""Every watcher sees the one history, whoever writes at once and however often it is cut off.

Writers change, delete and relabel the same few objects at the same time. Watchers, with selectors
and without, are cut off by themselves, by the server and by forgotten history. What each of them
saw is compared with what was committed, told as its selector tells it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple, cast

import pytest
from tests.support.apiserver import RunningServer, running_server

from kubeling.apiserver.records import Event
from kubeling.kube.client import Client
from kubeling.kube.errors import AlreadyExists, Expired, NotFound
from kubeling.kube.objects import Obj, new_object
from kubeling.kube.resources import CONFIG_MAPS

NAMES = "abcde"
WRITERS, WRITES = 4, 40
SELECTORS = ("", "", "side=left", "side!=left", "side")
END = "end"


class Seen(NamedTuple):
    """One event, as far as it can be told apart."""

    type: str
    name: str
    version: int


class Watched(NamedTuple):
    """What a watcher saw since a list at ``since``."""

    selector: str
    since: int
    events: list[Seen]


def matches(selector: str, obj: Obj) -> bool:
    side = (obj["metadata"].get("labels") or {}).get("side")
    match selector:
        case "side=left":
            return bool(side == "left")
        case "side!=left":
            return bool(side != "left")
        case "side":
            return side is not None
        case _:
            return True


def told(history: list[Event], watched: Watched) -> list[Seen]:
    """What a watcher with a selector is to see of the history."""
    found = []
    for event in history:
        if event.version <= watched.since or event.record.key.namespace != "default":
            continue
        before = event.previous is not None and matches(watched.selector, event.previous.obj)
        after = event.type != "DELETED" and matches(watched.selector, event.record.obj)
        if before or after:
            kind = "MODIFIED" if before and after else "ADDED" if after else "DELETED"
            found.append(Seen(kind, event.record.key.name, event.version))
    return found


async def write(client: Client, chance: random.Random) -> None:
    for _ in range(WRITES):
        name, side = chance.choice(NAMES), chance.choice(["left", "right", None])
        with contextlib.suppress(AlreadyExists, NotFound):
            match chance.randrange(4):
                case 0:
                    labels = {"side": side} if side else {}
                    obj = new_object(CONFIG_MAPS, name, "default", labels=labels)
                    await client.create(CONFIG_MAPS, obj)
                case 1:
                    await client.delete(CONFIG_MAPS, name, "default")
                case 2:
                    patch = {"metadata": {"labels": {"side": side}}}
                    await client.patch(CONFIG_MAPS, name, patch, "default")
                case _:
                    patch = {"data": {"n": str(chance.random())}}
                    await client.patch(CONFIG_MAPS, name, patch, "default")


async def disturb(running: RunningServer, chance: random.Random, done: asyncio.Event) -> None:
    while not done.is_set():
        for _ in range(chance.randrange(1, 30)):
            await asyncio.sleep(0)
        if chance.random() < 0.5:
            running.server.store.end_watches()
        else:
            running.server.store.forget(0)


async def follow(client: Client, selector: str, chance: random.Random) -> list[Watched]:
    """Watches until the end is written; each list begins a history of its own."""
    histories: list[Watched] = []
    version = ""
    while True:
        if not version:
            listed = await client.list(CONFIG_MAPS, "default", labels=selector)
            version = listed.resource_version
            histories.append(Watched(selector, int(version), []))
            if any(item["metadata"]["name"] == END for item in listed.items):
                return histories
        patience = chance.randrange(1, 15)
        watch = cast(
            "AsyncGenerator[Any, None]",
            client.watch(
                CONFIG_MAPS,
                "default",
                labels=selector,
                resource_version=version,
                bookmarks=True,
            ),
        )
        try:
            async with contextlib.aclosing(watch):
                async for event in watch:
                    metadata = event.object["metadata"]
                    assert int(metadata["resourceVersion"]) >= int(version)
                    version = metadata["resourceVersion"]
                    if event.type == "BOOKMARK":
                        continue
                    seen = Seen(event.type, metadata["name"], int(version))
                    histories[-1].events.append(seen)
                    if seen.name == END:
                        return histories
                    if (patience := patience - 1) == 0:
                        break
        except Expired:
            version = ""


@pytest.mark.parametrize("seed", range(2))
async def test_every_watcher_sees_the_one_history_whatever_happens_to_it(
    seed: int, fuzz: int
) -> None:
    chance = random.Random(seed * 1000 + fuzz)
    async with running_server() as running, asyncio.timeout(120):
        history: list[Event] = []
        running.server.store.subscribe("/configmaps", history.append)
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            watchers = [
                group.create_task(follow(running.client, selector, random.Random(chance.random())))
                for selector in SELECTORS
            ]
            group.create_task(disturb(running, random.Random(chance.random()), done))
            async with asyncio.TaskGroup() as writers:
                for _ in range(WRITERS * fuzz):
                    own = random.Random(chance.random())
                    writers.create_task(write(running.client, own))
            done.set()
            for side in ("left", None):
                labels = {"side": side} if side else {}
                obj = new_object(CONFIG_MAPS, END, "default", labels=labels)
                await running.client.delete(CONFIG_MAPS, END, "default", missing_ok=True)
                await running.client.create(CONFIG_MAPS, obj)
        for watcher in watchers:
            for number, watched in enumerate(watcher.result()):
                expected = told(history, watched)[: len(watched.events)]
                assert watched.events == expected, (watched.selector, number)
        assert sum(len(w.events) for task in watchers for w in task.result()) > WRITES
