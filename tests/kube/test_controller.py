"""Controllers: every change is acted on, failures are tried again, one never stops another."""

from __future__ import annotations

import asyncio

from tests.support.apiserver import running_server

from kubeling.kube.controller import Controller, Result, run_controllers
from kubeling.kube.informer import Informers
from kubeling.kube.objects import Key, new_object
from kubeling.kube.resources import CONFIG_MAPS, SECRETS


async def test_one_objects_failure_is_retried_and_does_not_stop_the_others() -> None:
    attempts: dict[str, int] = {}
    done: asyncio.Queue[str] = asyncio.Queue()

    async def reconcile(key: Key) -> Result | None:
        attempts[key.name] = attempts.get(key.name, 0) + 1
        if key.name == "bad" and attempts["bad"] < 3:
            raise RuntimeError("not yet")
        done.put_nowait(key.name)
        return None

    async with running_server() as running, Informers(running.client) as informers:
        controller = Controller("test", CONFIG_MAPS, reconcile, workers=1)
        running_controllers = asyncio.create_task(run_controllers([controller], informers))
        for name in ("bad", "good"):
            await running.client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, name, "default"))
        seen: set[str] = set()
        async with asyncio.timeout(10):
            while not {"bad", "good"} <= seen:
                seen.add(await done.get())
        running_controllers.cancel()
        await asyncio.gather(running_controllers, return_exceptions=True)
    assert attempts["bad"] == 3


async def test_a_change_of_what_it_owns_wakes_the_owner() -> None:
    woken: asyncio.Queue[Key] = asyncio.Queue()

    async def reconcile(key: Key) -> Result | None:
        woken.put_nowait(key)
        return None

    async with running_server() as running, Informers(running.client) as informers:
        client = running.client
        owner = await client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "owner", "default"))
        controller = Controller("test", CONFIG_MAPS, reconcile, owns=[SECRETS])
        task = asyncio.create_task(run_controllers([controller], informers))
        async with asyncio.timeout(10):
            while (await woken.get()).name != "owner":
                pass
            await client.create(SECRETS, new_object(SECRETS, "child", "default", owner=owner))
            while await woken.get() != Key("default", "owner"):
                pass
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_reconciler_can_ask_to_be_called_again() -> None:
    calls: asyncio.Queue[Key] = asyncio.Queue()

    async def reconcile(key: Key) -> Result | None:
        calls.put_nowait(key)
        return Result(requeue_after=0.01) if key.name == "again" else None

    async with running_server() as running, Informers(running.client) as informers:
        controller = Controller("test", CONFIG_MAPS, reconcile)
        task = asyncio.create_task(run_controllers([controller], informers))
        await running.client.create(CONFIG_MAPS, new_object(CONFIG_MAPS, "again", "default"))
        count = 0
        async with asyncio.timeout(10):
            while count < 3:
                count += (await calls.get()).name == "again"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
